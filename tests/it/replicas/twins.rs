//! One request that comes twice at the same time runs once.

use edge_tests::{Fault, Outcome, same};
use futures_util::future::{join, join_all, try_join_all};
use serde_json::{Value, json};

use super::{Stage, append, refusal, text};

const SESSIONS: u64 = 4;
/// At once in one session; it may have 64 in flight.
const PAIRS: u64 = 50;
const ROUNDS: u64 = 5;
const DUPLICATE_ID: i64 = -31009;

#[tokio::test]
async fn a_thousand_pairs_on_two_replicas_run_once_each() -> Outcome {
    let stage = Stage::set().await?;
    let sessions = try_join_all((0..SESSIONS).map(|_| stage.session(0, "web"))).await?;
    let (one, two) = (stage.address(1)?, stage.address(2)?);
    for round in 0..ROUNDS {
        let pairs = sessions.iter().enumerate().flat_map(|(number, session)| {
            (1..=PAIRS).map(move |pair| {
                let id = round * PAIRS + pair;
                let uuid = format!("{number}-{id}");
                // So long the first is in flight that the second cannot come after it.
                let call = append(id, &uuid, &json!({"ms": 1_500}));
                let both = [session.post(&call), session.post(&call)];
                async move {
                    let [left, right] = &both;
                    let (left, right) = join(left.reply(one), right.reply(two)).await;
                    let said = [left?.message()?, right?.message()?];
                    judge(&uuid, &said)
                }
            })
        });
        for judged in join_all(pairs).await {
            judged?;
        }
    }
    let lines = stage.lines()?;
    let mut once: Vec<&str> = lines.iter().map(|line| line.uuid.as_str()).collect();
    once.sort_unstable();
    once.dedup();
    same("lines of the ledger", lines.len(), usize::try_from(SESSIONS * PAIRS * ROUNDS)?)?;
    same("each of another call", once.len(), lines.len())
}

/// One of both was answered, and the other was told why not.
fn judge(uuid: &str, said: &[Value; 2]) -> Result<(), Fault> {
    let answered = said.iter().filter(|it| text(it).is_ok_and(|text| text == uuid)).count();
    let refused =
        said.iter().filter(|it| refusal(it) == (Some(DUPLICATE_ID), json!(false))).count();
    same(format!("{uuid}: {said:?}"), (answered, refused), (1, 1))
}
