//! The server on standard input and output: blocking, and all lines of one read answered in one
//! write, as a fast server does.

use std::io::{self, Read, Write};

use super::answer;

const CHUNK_BYTES: usize = 64 * 1024;

/// Serves until the input ends.
///
/// # Errors
///
/// When the input cannot be read or the output is closed.
pub(crate) fn serve(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut chunk = vec![0_u8; CHUNK_BYTES];
    let mut unread: Vec<u8> = Vec::with_capacity(CHUNK_BYTES);
    let mut answers: Vec<u8> = Vec::with_capacity(CHUNK_BYTES);
    loop {
        let length = input.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        unread.extend_from_slice(chunk.get(..length).unwrap_or_default());
        let Some(end) = memchr::memrchr(b'\n', &unread) else { continue };
        let rest = unread.split_off(end + 1);
        for line in unread.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if let Some(answer) = answer::to(line) {
                answers.extend_from_slice(answer.text.as_bytes());
                answers.push(b'\n');
            }
        }
        unread = rest;
        output.write_all(&answers)?;
        output.flush()?;
        answers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::serve;

    #[test]
    fn every_line_is_answered() {
        let ping = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n";
        let mut output = Vec::new();
        serve(format!("{ping}\n{ping}").as_bytes(), &mut output).unwrap();
        let answer = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n";
        assert_eq!(String::from_utf8(output).unwrap(), answer.repeat(2));
    }
}
