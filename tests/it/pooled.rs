//! Whose message is whose, at random: clients with the same ids and tokens share one process.
//!
//! Every session has a word of its own in all it says, and a length of its own for slow calls,
//! because the progress of the fixture says nothing else. `POOLED_SEED=N` runs one seed again;
//! the same seed takes the same steps, while the machine decides what overtakes what.

mod player;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use edge_tests::client::Transport;
use edge_tests::dice::Dice;
use edge_tests::edge::{Edge, edge, pooled};
use edge_tests::http1::Request;
use edge_tests::{Fault, Outcome, same};
use futures_util::FutureExt;
use futures_util::future::select_all;
use serde_json::Value;

use player::{Kind, Player};

const FIXED_SEEDS: [u64; 5] = [1, 2, 3, 5, 8];
const STEPS: u32 = 200;

#[tokio::test]
async fn nothing_of_a_client_ever_reaches_another() -> Outcome {
    let fresh = RandomState::new().hash_one("pooled");
    let seeds = match std::env::var_os("POOLED_SEED") {
        Some(seed) => vec![seed.to_str().ok_or("POOLED_SEED is not text")?.parse()?],
        None => FIXED_SEEDS.into_iter().chain([fresh]).collect(),
    };
    for seed in seeds {
        tell(&format!("POOLED_SEED={seed}"));
        Box::pin(play(seed)).await.map_err(|fault| format!("POOLED_SEED={seed}: {fault}"))?;
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a seed that failed has to be known")]
fn tell(line: &str) {
    eprintln!("{line}");
}

/// One round: random steps of random clients, and a look at the process at its end.
async fn play(seed: u64) -> Outcome {
    let edge = edge().server("fixture", pooled()).start().await?;
    let mut round = Round::open(&edge, Dice(seed)).await?;
    let before = pids(&edge).await?;
    same("one process", before.len(), 1)?;
    let result = Box::pin(round.run()).await;
    result.map_err(|fault| format!("{fault}\n{}\n{}", round.trace(), edge.log_tail()))?;
    same("the same process at the end", pids(&edge).await?, before)
}

async fn pids(edge: &Edge) -> Result<Vec<u64>, Fault> {
    let server: Value = serde_json::from_str(&edge.get("/servers/fixture").await?.text())?;
    let running = server.get("running").and_then(Value::as_array);
    let running = running.ok_or_else(|| format!("nothing is running: {server}"))?;
    Ok(running.iter().filter_map(|it| it.get("pid")?.as_u64()).collect())
}

/// Everybody at the table.
struct Round<'a> {
    edge: &'a Edge,
    dice: Dice,
    players: Vec<Player>,
    opened: u64,
    /// Sessions whose connections were closed and that nobody has ended.
    left_open: Vec<String>,
    /// A call was cancelled or left: from then on the server's requests may be in doubt.
    is_disturbed: bool,
    steps: Vec<String>,
}

impl<'a> Round<'a> {
    async fn open(edge: &'a Edge, mut dice: Dice) -> Result<Self, Fault> {
        let count = dice.below(3).saturating_add(4);
        let (players, left_open, steps) = (Vec::new(), Vec::new(), Vec::new());
        let mut round =
            Self { edge, dice, players, opened: 0, left_open, is_disturbed: false, steps };
        for transport in Transport::ALL.into_iter().cycle().take(usize::try_from(count)?) {
            round.seat(transport).await?;
        }
        Ok(round)
    }

    async fn seat(&mut self, transport: Transport) -> Outcome {
        self.opened = self.opened.saturating_add(1);
        self.players.push(Player::open(self.edge, transport, self.opened).await?);
        Ok(())
    }

    async fn run(&mut self) -> Outcome {
        // While nothing was cancelled, everybody is asked and there is no doubt who is meant.
        for at in 0..self.players.len() {
            self.ask_alone(at).await?;
        }
        for _ in 0..STEPS {
            self.step().await?;
            while let Some(next) = self.next().now_or_never() {
                let (at, message) = next?;
                self.take_in(at, &message).await?;
            }
        }
        self.settle().await
    }

    async fn step(&mut self) -> Outcome {
        let present = |it: &(usize, &Player)| !it.1.has_left;
        let seats: Vec<usize> =
            self.players.iter().enumerate().filter(present).map(|(at, _)| at).collect();
        let at = self.dice.pick(&seats).ok_or("nobody is here")?;
        let ask = self.dice.pick(&Kind::ASKS).ok_or("nothing to ask")?;
        match self.dice.below(16) {
            0..3 => self.call(at, Kind::Echo, false).await,
            3..6 => {
                let is_busy = self.players.get(at).is_some_and(|it| it.has(Kind::Slow));
                self.call(at, if is_busy { Kind::Echo } else { Kind::Slow }, false).await
            }
            6..10 => self.call(at, ask, false).await,
            10..12 => self.cancel(at).await,
            12 => self.leave(at).await,
            13 => self.ask_alone(at).await,
            _ => self.listen().await,
        }
    }

    async fn call(&mut self, at: usize, kind: Kind, alone: bool) -> Outcome {
        self.steps.push(format!("{at} calls {kind:?}"));
        let player = self.players.get_mut(at).ok_or("no such player")?;
        player.call(kind, alone).await
    }

    async fn cancel(&mut self, at: usize) -> Outcome {
        let player = self.players.get_mut(at).ok_or("no such player")?;
        let Some(id) = self.dice.pick(&player.waits()) else { return Ok(()) };
        self.steps.push(format!("{at} cancels {id}"));
        self.is_disturbed = true;
        player.cancel(id).await
    }

    /// In the middle of a call, if need be of a new one; another takes the place.
    async fn leave(&mut self, at: usize) -> Outcome {
        let kind = self.dice.pick(&[Kind::Slow, Kind::Sampling]).ok_or("no kind")?;
        if self.players.get(at).is_some_and(|it| it.waits().is_empty()) {
            self.call(at, kind, false).await?;
        }
        self.is_disturbed = true;
        let is_ended = self.dice.below(2) == 0;
        self.steps.push(format!("{at} leaves, is_ended: {is_ended}"));
        let player = self.players.get_mut(at).ok_or("no such player")?;
        let transport = player.transport;
        match player.client.session_id().map(str::to_owned) {
            Some(session) if is_ended => {
                player.has_left = true;
                player.calls.values_mut().for_each(|call| call.over = true);
                end(self.edge, &session).await?;
            }
            session => {
                self.left_open.extend(session);
                drop(self.players.remove(at));
            }
        }
        self.seat(transport).await
    }

    /// Waits for every answer, then has the server ask one client.
    async fn ask_alone(&mut self, at: usize) -> Outcome {
        self.settle().await?;
        for kind in Kind::ASKS {
            self.call(at, kind, !self.is_disturbed).await?;
            self.settle().await?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> Outcome {
        for session in std::mem::take(&mut self.left_open) {
            end(self.edge, &session).await?;
        }
        while self.players.iter().any(|it| !it.waits().is_empty()) {
            self.listen().await?;
        }
        Ok(())
    }

    /// Waits for one message, if anybody waits for one.
    async fn listen(&mut self) -> Outcome {
        if self.players.iter().all(|it| it.waits().is_empty()) {
            return Ok(());
        }
        let (at, message) = self.next().await?;
        self.take_in(at, &message).await
    }

    /// The next message of anybody.
    async fn next(&mut self) -> Result<(usize, Value), Fault> {
        let waits = self.players.iter_mut().map(|it| it.client.message().boxed());
        let (message, at, _others) = select_all(waits).await;
        Ok((at, message?))
    }

    async fn take_in(&mut self, at: usize, message: &Value) -> Outcome {
        self.steps.push(format!("{at} gets {message}"));
        let player = self.players.get_mut(at).ok_or("no such player")?;
        let answer = player.take_in(message).map_err(|fault| {
            format!("player {at} ({:?}, {}): {fault}: {message}", player.transport, player.word)
        })?;
        match answer {
            Some(answer) if !player.has_left => player.client.send(answer).await,
            Some(_) | None => Ok(()),
        }
    }

    fn trace(&self) -> String {
        let last = self.steps.len().saturating_sub(60);
        self.steps.iter().skip(last).map(|step| format!("  {step}\n")).collect()
    }
}

async fn end(edge: &Edge, session: &str) -> Outcome {
    let end = Request::new("DELETE", "/mcp/fixture").header("Mcp-Session-Id", session);
    let status = end.reply(edge.address).await?.status;
    same("a session is ended", (200..300).contains(&status), true)
}
