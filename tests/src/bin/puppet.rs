//! A stdio server without a mind of its own: `puppet PORT` hands what it reads to a port of the
//! test and writes what the test says there, byte for byte.
//!
//! When the test hangs up, the puppet dies at once (SIGKILL), as a server that crashes does. When
//! its standard input ends it leaves in good order.

use std::io::{Read, Write, stdin, stdout};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::process::ExitCode;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn main() -> ExitCode {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(0);
    let Ok(test) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return ExitCode::FAILURE;
    };
    let _slower = test.set_nodelay(true);
    let Ok(mut strings) = test.try_clone() else { return ExitCode::FAILURE };
    thread::spawn(move || {
        let _cut = pass(&mut strings, &mut stdout().lock());
        let _dead = kill(Pid::this(), Signal::SIGKILL);
    });
    let mut hears = &test;
    let _ended = pass(&mut stdin().lock(), &mut hears);
    let _gone = test.shutdown(Shutdown::Write);
    ExitCode::SUCCESS
}

/// Passes bytes on as they come.
fn pass(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(buffer.get(..count).unwrap_or_default())?;
        to.flush()?;
    }
}
