//! Cutting a stream into the pieces it may arrive in.

/// The pieces of a stream: all of it, byte by byte, or pieces of lengths drawn from a seed.
pub(super) fn every_way(stream: &[u8], seed: u8) -> Vec<Vec<&[u8]>> {
    vec![vec![stream], stream.chunks(1).collect(), drawn(stream, seed)]
}

fn drawn(stream: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = stream;
    let mut state = u32::from(seed);
    while !rest.is_empty() {
        // The generator of Numerical Recipes; its upper bits are the good ones.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = usize::try_from(state >> 28).unwrap_or(1).min(rest.len());
        let (piece, after) = rest.split_at(length);
        pieces.push(piece);
        rest = after;
    }
    pieces
}
