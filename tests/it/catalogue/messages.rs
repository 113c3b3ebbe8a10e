//! Section A, rows 1 to 22: what is no JSON and no JSON-RPC.

use edge_tests::{Fault, Outcome, same, within};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::bench::{Bench, INVALID, PARSE, PING, TOO_LARGE, call, on, padded, refused};

#[tokio::test]
async fn row_01_empty_body() -> Outcome {
    refused(PARSE, &Value::Null, &[("nothing", b""), ("a space", b" ")]).await
}

#[tokio::test]
async fn row_02_truncated_json() -> Outcome {
    refused(PARSE, &Value::Null, &[("half an object", br#"{"jsonrpc":"2.0","#)]).await
}

#[tokio::test]
async fn row_03_trailing_garbage() -> Outcome {
    let (letter, two) = (format!("{PING}x"), format!("{PING}{PING}"));
    refused(PARSE, &Value::Null, &[("x", letter.as_bytes()), ("two objects", two.as_bytes())]).await
}

#[tokio::test]
async fn row_04_invalid_utf8() -> Outcome {
    let with = |bytes: &[u8]| [br#"{"jsonrpc":"2.0","id":1,"method":""#, bytes, b"\"}"].concat();
    let (cut, overlong, lone) = (with(b"\xC3\x28"), with(b"\xC0\xAF"), with(b"\xED\xA0\x80"));
    let rows = [("C3 28", &cut), ("overlong", &overlong), ("lone surrogate", &lone)];
    refused(PARSE, &Value::Null, &rows.map(|(what, body)| (what, body.as_slice()))).await
}

#[tokio::test]
async fn row_05_escaped_lone_surrogate() -> Outcome {
    let body = call("1", r#"{"a":"\ud800"}"#);
    refused(PARSE, &Value::Null, &[(r"\ud800", body.as_bytes())]).await
}

#[tokio::test]
async fn row_06_byte_order_mark() -> Outcome {
    let bench = Bench::open().await?;
    let reply = bench.send(&bench.post(format!("\u{feff}{PING}"))).await?;
    same(reply.text(), (reply.status, reply.error_code()), (200, None))?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_07_utf16() -> Outcome {
    let little: Vec<u8> = PING.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = PING.encode_utf16().flat_map(u16::to_be_bytes).collect();
    refused(PARSE, &Value::Null, &[("little endian", &little), ("big endian", &big)]).await
}

#[tokio::test]
async fn row_08_deep_nesting() -> Outcome {
    // The params are one level down.
    let nested = |depth| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let ping = |params: &str| PING.replace('}', &format!(",\"params\":{params}}}"));
    let bench = Bench::open().await?;
    let reply = bench.send(&bench.post(ping(&nested(127)))).await?;
    same("128 levels", (reply.status, reply.error_code()), (200, None))?;
    let before = bench.edge.peak_bytes()?;
    let (deep, deepest) = (ping(&nested(128)), "[".repeat(100_000));
    bench.refuses_bodies(PARSE, &json!(1), &[("129 levels", deep.as_bytes())]).await?;
    let rows: [(&str, &[u8]); 1] = [("a hundred thousand brackets", deepest.as_bytes())];
    bench.refuses_bodies(PARSE, &Value::Null, &rows).await?;
    let grown = bench.edge.peak_bytes()? - before;
    same(format!("{grown} bytes are a flat stack"), grown < 4 << 20, true)?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_09_body_of_4_mib_and_one_more() -> Outcome {
    let bench = Bench::open().await?;
    let limit = 4 << 20;
    let before = bench.edge.peak_bytes()?;
    let over = vec![("one more", bench.post(padded(limit + 1)))];
    bench.refuses(413, TOO_LARGE, &Value::Null, over).await?;
    let grown = bench.edge.peak_bytes()? - before;
    same(format!("{grown} bytes for what is not read"), grown < 1 << 20, true)?;
    let whole = bench.post(padded(limit + 1)).exchange(bench.edge.address).await?;
    same("413 and the end", whole.starts_with("HTTP/1.1 413"), true)?;
    let reply = bench.send(&bench.post(padded(limit))).await?;
    same("exactly 4 MiB", (reply.status, reply.error_code()), (200, None))?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_10_announced_and_never_sent() -> Outcome {
    let bench = Bench::open().await?;
    let announced = bench.post("").header("Content-Length", "1000000000");
    bench.refuses(413, TOO_LARGE, &Value::Null, vec![("1 GB", announced.clone())]).await?;
    let whole = announced.exchange(bench.edge.address).await?;
    same("413 and the end", whole.starts_with("HTTP/1.1 413"), true)?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_11_chunked_without_end() -> Outcome {
    let bench = Bench::open().await?;
    let before = bench.edge.peak_bytes()?;
    let stream = TcpStream::connect(bench.edge.address).await?;
    let (mut read, mut write) = stream.into_split();
    let head = format!("{}Transfer-Encoding: chunked\r\n\r\n", bench.head());
    let chunk = [b"10000\r\n", " ".repeat(0x1_0000).as_bytes(), b"\r\n"].concat();
    let mut sending = JoinSet::new();
    sending.spawn(async move {
        let mut sent = 0_u64;
        let mut part = head.into_bytes();
        // What is refused is not read: sooner or later nothing more is taken.
        while sent < 1 << 30 && write.write_all(&part).await.is_ok() {
            sent += part.len() as u64;
            part.clone_from(&chunk);
        }
        sent
    });
    let mut answer = Vec::new();
    within("the answer", async {
        let _reset = read.read_to_end(&mut answer).await;
        Ok::<(), Fault>(())
    })
    .await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let is_refused = answer.starts_with("HTTP/1.1 413") && answer.contains("-31010");
    same(answer, is_refused, true)?;
    let sent = within("the sender notices", async {
        Ok::<_, Fault>(sending.join_next().await.ok_or("nobody sends")??)
    })
    .await?;
    // 4 MiB are read, and both ends of a socket hold a few.
    same(format!("{sent} bytes of 1 GiB were taken"), sent < 32 << 20, true)?;
    let grown = bench.edge.peak_bytes()? - before;
    same(format!("{grown} bytes for 4 MiB"), grown < 16 << 20, true)?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_12_duplicate_keys() -> Outcome {
    let method = br#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}"#;
    let params = call("1", r#"{"name":"echo","name":"add"}"#);
    let deep = call("1", r#"{"name":"echo","arguments":{"a":[{"b":1,"b":2}]}}"#);
    let escaped = call("1", r#"{"name":"echo","arguments":{"a":1,"\u0061":2}}"#);
    let rows = [
        ("method", method.as_slice()),
        ("params.name", params.as_bytes()),
        ("in an argument", deep.as_bytes()),
        ("one of them escaped", escaped.as_bytes()),
    ];
    refused(INVALID, &json!(1), &rows).await
}

#[tokio::test]
async fn row_13_member_in_the_wrong_case() -> Outcome {
    refused(INVALID, &json!(1), &[("Method", br#"{"jsonrpc":"2.0","id":1,"Method":"ping"}"#)]).await
}

#[tokio::test]
async fn row_14_jsonrpc_missing_or_other() -> Outcome {
    let rows: [(&str, &[u8]); 3] = [
        ("missing", br#"{"id":1,"method":"ping"}"#),
        ("1.0", br#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#),
        ("a number", br#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#),
    ];
    refused(INVALID, &json!(1), &rows).await
}

#[tokio::test]
async fn row_15_id_null() -> Outcome {
    refused(INVALID, &Value::Null, &[("null", with_id("null").as_bytes())]).await
}

#[tokio::test]
async fn row_16_id_of_another_type() -> Outcome {
    let ids = ["1.5", "1e3", "true", "{}", "[]"].map(|id| (id, with_id(id)));
    let rows: Vec<_> = ids.iter().map(|(id, body)| (*id, body.as_bytes())).collect();
    refused(INVALID, &Value::Null, &rows).await
}

#[tokio::test]
async fn row_17_large_integers_as_ids() -> Outcome {
    let bench = Bench::open().await?;
    for id in ["9007199254740993", "-1", "9223372036854775808"] {
        echoed(&bench, id).await?;
    }
    let long = with_id(&"9".repeat(100));
    bench.refuses_bodies(INVALID, &Value::Null, &[("100 digits", long.as_bytes())]).await?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_18_strings_as_ids() -> Outcome {
    let bench = Bench::open().await?;
    for id in ["\"\"", &format!("\"{}\"", "i".repeat(256))] {
        echoed(&bench, id).await?;
    }
    let long = with_id(&format!("\"{}\"", "i".repeat(257)));
    bench.refuses_bodies(INVALID, &Value::Null, &[("257 bytes", long.as_bytes())]).await?;
    let slow = |id| bench.post(call(id, r#"{"name":"slow","arguments":{"ms":300,"steps":1}}"#));
    let (number, text) = (slow("71"), slow("\"71\""));
    let (number, text) = tokio::join!(bench.send(&number), bench.send(&text));
    let (number, text) = (number?.message()?, text?.message()?);
    same(
        "71 and \"71\"",
        (number.get("id"), text.get("id")),
        (Some(&json!(71)), Some(&json!("71"))),
    )?;
    same("both are answered", (number.get("error"), text.get("error")), (None, None))?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_19_batches_of_2025_03_26() -> Outcome {
    let bench = Bench::open().await?;
    let session = on(&bench.session("2025-03-26").await?, "");
    for size in [1, 50] {
        let mut stream = session.clone().body(batch(size)).send(bench.edge.address).await?;
        let mut ids = Vec::new();
        while let Some(message) = within("an answer", stream.message()).await? {
            same(message.to_string(), message.get("result").is_some(), true)?;
            ids.extend(message.get("id").and_then(Value::as_u64));
        }
        ids.sort_unstable();
        same(format!("answers to {size}"), ids, (1..=size).collect())?;
    }
    let all = vec![("51", session.clone().body(batch(51))), ("none", session.clone().body("[]"))];
    bench.refuses(400, INVALID, &Value::Null, all).await?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_20_batch_under_another_revision() -> Outcome {
    let bench = Bench::open().await?;
    let older = on(&bench.session("2025-06-18").await?, batch(2));
    let all = vec![("2025-11-25", bench.post(batch(2))), ("2025-06-18", older)];
    bench.refuses(400, INVALID, &Value::Null, all).await?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_21_top_level_of_another_type() -> Outcome {
    let rows: [(&str, &[u8]); 4] =
        [("string", b"\"ping\""), ("number", b"7"), ("null", b"null"), ("true", b"true")];
    refused(INVALID, &Value::Null, &rows).await
}

#[tokio::test]
async fn row_22_method_missing_or_odd() -> Outcome {
    let long = PING.replace("ping", &"p".repeat(10 << 10));
    let rows: [(&str, &[u8]); 3] = [
        ("missing", br#"{"jsonrpc":"2.0","id":1}"#),
        ("a number", br#"{"jsonrpc":"2.0","id":1,"method":1}"#),
        ("10 KB", long.as_bytes()),
    ];
    refused(INVALID, &json!(1), &rows).await
}

fn with_id(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#)
}

/// A batch of pings with the ids 1 to `size`.
fn batch(size: u64) -> String {
    let pings: Vec<String> = (1..=size).map(|id| with_id(&id.to_string())).collect();
    format!("[{}]", pings.join(","))
}

/// A ping with this id is answered with the id byte for byte.
async fn echoed(bench: &Bench, id: &str) -> Outcome {
    let reply = bench.send(&bench.post(with_id(id))).await?;
    let is_echoed = reply.text().contains(&format!("\"id\":{id},"));
    same(format!("{id}: {}", reply.text()), (reply.status, is_echoed), (200, true))
}
