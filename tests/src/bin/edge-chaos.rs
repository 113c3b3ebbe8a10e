//! Everything breaks while clients call: `edge-chaos --minutes M --seed S [--rate R]`, or
//! `edge-chaos --rolling ROUNDS [--rate R]` for restarts in turn alone.
//!
//! It prints what broke, how calls ended and whether every promise was kept; if not, it ends
//! with 1.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use edge_tests::Fault;
use edge_tests::chaos::{Dose, Report, chaos, rolling};

const USAGE: &str = "usage: edge-chaos --minutes M --seed S [--rate R] | --rolling N [--rate R]";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments).await {
        Ok(report) => {
            let _ignored = writeln!(std::io::stdout(), "{report}");
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(fault) => {
            let _ignored = writeln!(std::io::stderr(), "edge-chaos: {fault}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: &[String]) -> Result<Report, Fault> {
    let (mut minutes, mut seed, mut rate, mut rounds) = (1.0_f64, 1, 200, None);
    let mut words = arguments.iter();
    while let Some(name) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        match name.as_str() {
            "--minutes" => minutes = value.parse()?,
            "--seed" => seed = value.parse()?,
            "--rate" => rate = value.parse()?,
            "--rolling" => rounds = Some(value.parse()?),
            _ => return Err(USAGE.into()),
        }
    }
    match rounds {
        Some(rounds) => rolling(rounds, rate).await,
        None => chaos(Dose { span: Duration::from_secs_f64(minutes * 60.0), seed, rate }).await,
    }
}
