//! Small doses of what `just chaos` gives in full.

use std::time::Duration;

use edge_tests::chaos::{Dose, chaos, rolling};
use edge_tests::{Outcome, same};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_is_kept_while_everything_breaks() -> Outcome {
    let dose = Dose { span: Duration::from_secs(30), seed: 5, rate: 200 };
    let report = chaos(dose).await?;
    println!("{report}");
    same(format!("clean\n{report}"), report.is_clean(), true)?;
    let all = report.faults().values().all(|count| *count > 0);
    same(format!("every kind of fault\n{report}"), all, true)?;
    same("kinds of faults", report.faults().len(), 10)?;
    same("streams were taken up", report.resumes().percentile(95).is_zero(), false)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_restarted_in_turn_and_nobody_notices() -> Outcome {
    let report = rolling(2, 200).await?;
    println!("{report}");
    same(format!("clean\n{report}"), report.is_clean(), true)?;
    // A few were refused where the machine was too busy for Redis to answer in time.
    let most = report.calls() - report.calls() / 500;
    same(format!("answered\n{report}"), report.answered() >= most, true)
}
