# Every recipe is one command anybody can run by hand.

# List the recipes.
default:
    @just --list

# Everything a change must pass before it is sent, in the order that fails soonest.
check: fmt clippy doc test

# Formatting, as rustfmt.toml says.
fmt:
    cargo fmt --all --check

# Lints, as Cargo.toml and clippy.toml say, with every warning an error.
clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# The documentation builds, private items included, and no link in it is broken.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

# All tests of the workspace.
test:
    cargo test --workspace --locked

# Only the tests of layers, invariants and file shape: seconds, not minutes.
tidy:
    cargo test -p mcp-gateway --test tidy --locked

# Fuzz one reader of foreign text (needs a nightly compiler and `cargo install cargo-fuzz`). What is
# found goes to gateway/fuzz/artifacts; what is new goes to gateway/fuzz/found, not to the corpus.
fuzz target seconds="600":
    mkdir -p gateway/fuzz/found/{{target}}
    cargo +nightly fuzz run --fuzz-dir gateway/fuzz --sanitizer none {{target}} \
        gateway/fuzz/found/{{target}} gateway/fuzz/corpus/{{target}} -- \
        -max_total_time={{seconds}} -timeout=10 -print_final_stats=1 \
        -dict=gateway/fuzz/tokens.dict

# Licences, bans and sources of the dependencies (needs `cargo install cargo-deny`).
deny:
    cargo deny check bans licenses sources

# Known vulnerabilities (needs cargo-deny and the network).
advisories:
    cargo deny check advisories

# Run the gateway on its embedded defaults.
run *arguments:
    cargo run --release -- {{arguments}}

# How fast and how small the gateway is, beside nginx (docs/performance.md); try `just bench --quick`.
bench *arguments:
    cargo build --release --locked -p mcp-gateway
    cargo run --release --locked -p edge-bench -- {{arguments}}

# Break everything while clients call, and check that every promise was kept; the whole dose is
# `just chaos --minutes 15 --seed 1 --rate 1300`, and restarts in turn are `just chaos --rolling 20`.
chaos *arguments:
    cargo build --release --locked -p mcp-gateway
    cargo build --release --locked -p edge-tests --bins
    target/release/edge-chaos {{arguments}}

# Requests of very many made-up addresses through one gateway, whose memory must not grow; built for
# release, as it is shipped.
flood addresses="1000000":
    cargo build --release --locked -p mcp-gateway
    EDGE_ADDRESSES={{addresses}} cargo test --release --locked -p edge-tests --test it -- --nocapture limits::flood
