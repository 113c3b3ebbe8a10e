//! D, backends that are processes: what they write, how they end, what they do not read.

use std::time::{Duration, Instant};

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, edge, odd, stdio};
use edge_tests::http1::Request;
use edge_tests::{Fault, Outcome, same, until};
use serde_json::{Value, json};

use super::{
    Folder, OUTCOME_UNKNOWN, PROTOCOL, Starts, TIMEOUT, TOO_LARGE, UNAVAILABLE, call, initialize,
    refused, set, shared, told,
};

#[tokio::test]
async fn row_86_text_that_is_no_message_is_passed_over_and_shown_in_part() -> Outcome {
    let edge = edge().server("odd", odd("")).start().await?;
    let mut client = open(&edge).await?;
    let noise = format!("Listening on stdio\u{1b}[31m{}\n", "é".repeat(500));
    let say = json!({"raw": noise, "times": 150});
    client.call("say", say).await?;
    client.call("echo", json!({})).await?;
    let shown = edge.logged("backend_garbage", 1).await;
    same(
        format!("at most one line a second: {}", shown.len()),
        (1..=5).contains(&shown.len()),
        true,
    )?;
    let line = shown.first().cloned().unwrap_or_default();
    same("level", line.get("level"), Some(&json!("WARN")))?;
    let text = line.get("shown").and_then(Value::as_str).unwrap_or_default().to_owned();
    same(format!("escaped: {text}"), text.contains("\\u{1b}[31mé"), true)?;
    same(format!("200 bytes: {text}"), text.chars().filter(|it| *it == 'é').count() <= 90, true)?;
    // A session's own process holds the session's state: it is borne with.
    same("processes", edge.descendants().len(), 1)?;
    same("replaced", edge.events("backend_garbage_restart").len(), 0)
}

#[tokio::test]
async fn row_86_a_shared_process_that_writes_garbage_is_replaced_once_it_is_idle() -> Outcome {
    let starts = Starts::new("garbage");
    let edge = edge().server("odd", starts.of(shared(odd("")))).start().await?;
    let (mut one, mut two) = (open(&edge).await?, open(&edge).await?);
    let held = json!({"name": "say", "arguments": {"answer": false}});
    let held = one.begin("tools/call", held).await?;
    two.call("say", json!({"raw": "debug\n", "times": 101})).await?;
    until("it is to be replaced", || async { edge.events("backend_garbage_restart").len() == 1 })
        .await?;
    two.call("echo", json!({})).await?;
    same("not while a call is in flight", starts.pids().len(), 1)?;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": {"requestId": held}});
    one.send(cancel).await?;
    let first = starts.processes().into_iter().next().ok_or("no process")?;
    until("the old process ends", || async { !first.alive() }).await?;
    two.call("echo", json!({})).await?;
    one.call("echo", json!({})).await?;
    same("one new process", starts.pids().len(), 2)
}

#[tokio::test]
async fn row_87_a_line_of_100_mb_is_dropped_as_it_comes_and_its_call_is_told() -> Outcome {
    let edge = edge().server("odd", odd("")).start().await?;
    let mut client = open(&edge).await?;
    client.call("echo", json!({})).await?;
    let before = edge.process()?.memory_kib();
    let answer = call(&mut client, "flood", json!({"bytes": 100_000_000})).await?;
    same(format!("{answer}"), told(&answer), (Some(TOO_LARGE), json!(true)))?;
    let grown = edge.process()?.peak_memory_kib().saturating_sub(before);
    same(format!("memory grew by {grown} KiB"), grown < 30 * 1024, true)?;
    same("the next call", client.call("echo", json!({"a": 1})).await?.as_str(), r#"{"a":1}"#)?;
    let long = edge.logged("backend_too_long", 1).await;
    let length = long.first().and_then(|event| event.get("length")).and_then(Value::as_u64);
    same("the length is logged", length.is_some_and(|it| it > 99_000_000), true)
}

#[tokio::test]
async fn row_88_a_line_without_end_costs_its_call_and_its_process() -> Outcome {
    let starts = Starts::new("endless");
    let mut server = starts.of(odd(""));
    set(&mut server, "call_timeout", json!("1s"));
    let edge = edge().server("odd", server).start().await?;
    let (mut client, mut other) = (open(&edge).await?, open(&edge).await?);
    client.call("echo", json!({})).await?;
    other.call("echo", json!({})).await?;
    let endless = starts.processes().into_iter().next().ok_or("no process")?;
    let before = edge.process()?.memory_kib();
    let answer = call(&mut client, "endless", json!({})).await?;
    same(format!("{answer}"), told(&answer), (Some(TIMEOUT), json!("unknown")))?;
    let grown = edge.process()?.peak_memory_kib().saturating_sub(before);
    same(format!("memory grew by {grown} KiB"), grown < 30 * 1024, true)?;
    same("the next call", client.call("echo", json!({})).await?.as_str(), "{}")?;
    same("another session", other.call("echo", json!({})).await?.as_str(), "{}")?;
    same("processes started", starts.pids().len(), 3)?;
    until("the endless one is ended", || async { !endless.alive() }).await
}

#[tokio::test]
async fn row_89_a_line_that_breaks_off_with_its_process_is_dropped() -> Outcome {
    let edge = edge().server("odd", odd("")).start().await?;
    for transport in Transport::ALL {
        let mut client = Client::open(&edge, transport, Some("odd")).await?;
        client.call("echo", json!({})).await?;
        let begun = Instant::now();
        let part = r#"{"jsonrpc":"2.0","id":{id},"result":{"content":[]"#;
        let answer = call(&mut client, "exit", json!({"raw": part, "code": 4})).await?;
        let took = begun.elapsed();
        same(format!("{answer}"), told(&answer), (Some(OUTCOME_UNKNOWN), json!("unknown")))?;
        same(format!("at once: {took:?}"), took < Duration::from_secs(2), true)?;
        let message = answer.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
        same(format!("exit code: {message}"), message.contains("code 4"), true)?;
        client.call("echo", json!({})).await?;
    }
    Ok(())
}

#[tokio::test]
async fn row_90_answers_that_nobody_asked_for_reach_nobody() -> Outcome {
    let edge = edge().server("odd", shared(odd(""))).start().await?;
    let mut other = Client::open(&edge, Transport::Ws, Some("odd")).await?;
    let mut client = Client::open(&edge, Transport::Ws, Some("odd")).await?;
    for id in ["987654321", "\"{id}\"", "-1", "null"] {
        let raw = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"stray\":1}}}}\n");
        let arguments = json!({"raw": raw});
        let said = client.call("say", arguments.clone()).await?;
        same(format!("answered once, as it was meant: {id}"), said, arguments.to_string())?;
    }
    let twice = "{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{\"content\":[{\"type\":\"text\",\
                 \"text\":\"first\"}]}}\n";
    let said = client.call("say", json!({"raw": twice})).await?;
    same("the first of two answers", said.as_str(), "first")?;
    client.call("echo", json!({})).await?;
    other.call("echo", json!({})).await?;
    for (who, client) in [("its client", client), ("another", other)] {
        let stray: Vec<_> =
            client.told.iter().filter(|it| it.get("method").is_none()).cloned().collect();
        same(format!("{who} was told no more"), stray, Vec::new())?;
    }
    same("it is logged", edge.logged("backend_stray_answer", 1).await.is_empty(), false)
}

#[tokio::test]
async fn row_91_answers_that_are_no_answers_fail_the_call_they_name() -> Outcome {
    let edge = edge().server("odd", odd("")).start().await?;
    let mut client = open(&edge).await?;
    for (what, raw) in [
        ("both", r#"{"jsonrpc":"2.0","id":{id},"result":{},"error":{"code":1,"message":"x"}}"#),
        ("neither", r#"{"jsonrpc":"2.0","id":{id}}"#),
        ("jsonrpc 1.0", r#"{"jsonrpc":"1.0","id":{id},"result":{}}"#),
        ("no jsonrpc", r#"{"id":{id},"result":{}}"#),
    ] {
        let arguments = json!({"raw": format!("{raw}\n"), "answer": false});
        let answer = call(&mut client, "say", arguments).await?;
        same(format!("{what}: {answer}"), told(&answer), (Some(PROTOCOL), json!(true)))?;
    }
    same("the next call", client.call("echo", json!({})).await?.as_str(), "{}")
}

#[tokio::test]
async fn row_92_marks_returns_and_blank_lines_are_tolerated() -> Outcome {
    let edge = edge().server("odd", odd("framed")).start().await?;
    for transport in Transport::ALL {
        let mut client = Client::open(&edge, transport, Some("odd")).await?;
        same("echo", client.call("echo", json!({"a": 1})).await?.as_str(), r#"{"a":1}"#)?;
    }
    same("it is no garbage", edge.events("backend_garbage").len(), 0)
}

#[tokio::test]
async fn row_93_a_process_that_ends_during_initialize_is_unavailable_and_left_alone() -> Outcome {
    let starts = Starts::new("ends");
    let edge = edge().server("odd", starts.of(odd("exit:3"))).start().await?;
    let reply = initialize(&edge, "odd").await?;
    let message = refused(&reply, 502, UNAVAILABLE)?;
    for shown in ["code 3", "odd: cannot go on"] {
        same(format!("{message:?} shows {shown:?}"), message.contains(shown), true)?;
    }
    same("the exit code is logged", edge.log().contains("code 3"), true)?;
    let reply = initialize(&edge, "odd").await?;
    let message = refused(&reply, 502, UNAVAILABLE)?;
    same(format!("{message:?} tells when"), message.contains("tried again in"), true)?;
    same("Retry-After", reply.header("retry-after").is_some(), true)?;
    let after = reply.message()?.pointer("/error/data/retryAfterMs").and_then(Value::as_u64);
    same("retryAfterMs", after.is_some_and(|ms| (1..=2000).contains(&ms)), true)?;
    same("it was started once", starts.pids().len(), 1)
}

/// An answer that takes this long comes in an event stream, whose status is 200.
#[tokio::test]
async fn row_94_a_process_that_does_not_initialise_is_ended() -> Outcome {
    let mut server = odd("silent");
    set(&mut server, "start_timeout", json!("1s"));
    let edge = edge().server("odd", server).start().await?;
    let begun = Instant::now();
    let reply = initialize(&edge, "odd").await?;
    let took = begun.elapsed();
    let message = refused(&reply, 200, UNAVAILABLE)?;
    same("content type", reply.header("content-type"), Some("text/event-stream"))?;
    let wanted = "did not answer initialize within 1 s (start_timeout)";
    same(format!("{message:?}"), message.contains(wanted), true)?;
    let in_time = (Duration::from_secs(1)..Duration::from_secs(4)).contains(&took);
    same(format!("after {took:?}"), in_time, true)?;
    until("it is ended", || async { edge.descendants().is_empty() }).await
}

#[tokio::test]
async fn row_95_another_revision_is_negotiated_or_refused_with_both_named() -> Outcome {
    let edge = edge()
        .server("older", odd("version:2024-11-05"))
        .server("newer", odd("version:2099-01-01"))
        .server("modern", odd("version:2026-07-28"))
        .start()
        .await?;
    let older = Client::open(&edge, Transport::Mcp, Some("older")).await?;
    let agreed = older.initialized.pointer("/result/protocolVersion");
    same("an older revision", agreed, Some(&json!("2024-11-05")))?;
    for (server, version) in [("newer", "2099-01-01"), ("modern", "2026-07-28")] {
        let reply = initialize(&edge, server).await?;
        let message = refused(&reply, 502, PROTOCOL)?;
        for named in [version, "2025-11-25"] {
            same(format!("{message:?} names {named}"), message.contains(named), true)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn row_96_a_process_that_ends_while_it_is_idle_is_started_with_the_next_call() -> Outcome {
    let survivor = "setsid sleep 5 <&- >&- & exec \"$@\"";
    let survived = || {
        let mut command = vec![json!("sh"), json!("-c"), json!(survivor), json!("sh")];
        let odd = odd("");
        command.extend(odd.get("command").and_then(Value::as_array).into_iter().flatten().cloned());
        json!({"command": command, "lists": "session"})
    };
    let servers = [
        ("session", odd("")),
        ("pooled", shared(odd(""))),
        // Its stderr is read on for a moment, in which the call comes.
        ("session, survived", survived()),
        ("pooled, survived", shared(survived())),
    ];
    for (isolation, server) in servers {
        let edge = edge().server("odd", server).start().await?;
        let mut client = open(&edge).await?;
        client.call("echo", json!({})).await?;
        let ended = edge.descendants().into_iter().next().ok_or("no process")?;
        let leave = json!({"name": "leave", "arguments": {}});
        let left = client.request("tools/call", leave).await?;
        same(format!("{isolation}: {left}"), left.get("error"), None)?;
        until("it ends", || async { !ended.is_known() }).await?;
        let mut next = call(&mut client, "echo", json!({})).await?;
        // Its end is heard of a moment before its queue is closed.
        if told(&next) == (Some(UNAVAILABLE), json!(false))
            && next.to_string().contains("its process exited")
        {
            next = call(&mut client, "echo", json!({})).await?;
        }
        same(format!("{isolation}: {next}"), next.get("error"), None)?;
        let errors = client.told.iter().filter(|told| told.get("error").is_some()).count();
        same("errors", errors, 0)?;
    }
    Ok(())
}

#[tokio::test]
async fn row_97_a_process_that_crashes_all_the_time_is_started_five_times_a_minute() -> Outcome {
    for (isolation, server) in [("session", odd("")), ("pooled", shared(odd("")))] {
        let starts = Starts::new(isolation);
        let edge = edge().server("odd", starts.of(server)).start().await?;
        let mut client = Client::open(&edge, Transport::Ws, Some("odd")).await?;
        for crash in 1..=5 {
            let answer = call(&mut client, "exit", json!({"code": 1})).await?;
            let wanted = (Some(OUTCOME_UNKNOWN), json!("unknown"));
            same(format!("{isolation}: crash {crash}: {answer}"), told(&answer), wanted)?;
        }
        for _ in 0..20 {
            let answer = call(&mut client, "echo", json!({})).await?;
            let wanted = (Some(UNAVAILABLE), json!(false));
            same(format!("{isolation}: {answer}"), told(&answer), wanted)?;
            let after = answer.pointer("/error/data/retryAfterMs").and_then(Value::as_u64);
            same("retryAfterMs", after.is_some_and(|ms| (30_000..=60_000).contains(&ms)), true)?;
        }
        same(format!("{isolation}: starts"), starts.pids().len(), 5)?;
        if isolation == "session" {
            // What one client's calls do to its own process is no matter to another's.
            let mut other = open(&edge).await?;
            same("another session", other.call("echo", json!({})).await?.as_str(), "{}")?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn row_98_a_program_that_cannot_run_fails_alone() -> Outcome {
    let folder = Folder::new("programs")?;
    let plain = folder.file("plain", b"#!/bin/sh\n", 0o644)?;
    let foreign = folder.file("foreign", b"\x7fELF\x02\x01\x01 of another machine", 0o755)?;
    let edge = edge()
        .server("absent", json!({"command": ["/nonexistent/program"]}))
        .server("plain", json!({"command": [plain]}))
        .server("foreign", json!({"command": [foreign]}))
        .server("fixture", stdio())
        .start()
        .await?;
    for server in ["absent", "plain", "foreign"] {
        refused(&initialize(&edge, server).await?, 502, UNAVAILABLE)?;
        let entry: Value =
            serde_json::from_str(&edge.get(&format!("/servers/{server}")).await?.text())?;
        same(format!("{server}: {entry}"), entry.get("status"), Some(&json!("failed")))?;
    }
    same("readiness", edge.get("/health/ready").await?.status, 200)?;
    let mut all = Client::open(&edge, Transport::Mcp, None).await?;
    same("the others serve", all.call("echo", json!({})).await?.as_str(), "{}")
}

#[tokio::test]
async fn row_99_a_process_that_reads_nothing_is_given_up_after_ten_seconds() -> Outcome {
    let edge = edge().server("odd", odd("deaf")).server("fixture", stdio()).start().await?;
    let mut client = open(&edge).await?;
    let deaf = edge.descendants();
    let begun = Instant::now();
    // More than a pipe holds, so that a part of it has gone out.
    let answer = call(&mut client, "echo", json!({"a": "x".repeat(300_000)})).await?;
    let took = begun.elapsed();
    same(format!("{answer}"), told(&answer), (Some(OUTCOME_UNKNOWN), json!("unknown")))?;
    let in_time = (Duration::from_secs(10)..Duration::from_secs(14)).contains(&took);
    same(format!("after {took:?}"), in_time, true)?;
    until("it is ended", || async { !deaf.iter().any(|process| process.alive()) }).await?;
    let mut other = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
    same("another server", other.call("echo", json!({})).await?.as_str(), "{}")
}

/// Of what is written there the last 20 lines are kept; the rest is counted, not logged.
#[tokio::test]
async fn row_100_standard_error_is_drained_whatever_comes() -> Outcome {
    let edge = edge().server("odd", odd("")).start().await?;
    let mut client = open(&edge).await?;
    client.call("echo", json!({})).await?;
    let before = edge.process()?.memory_kib();
    let arguments = json!({"bytes": 200 << 20});
    let said = client.call("stderr", arguments.clone()).await?;
    same("the call that wrote it", said, arguments.to_string())?;
    let grown = edge.process()?.peak_memory_kib().saturating_sub(before);
    same(format!("memory grew by {grown} KiB"), grown < 8 * 1024, true)?;
    let log = edge.log().len();
    same(format!("the log has {log} bytes"), log < 64 * 1024, true)
}

#[tokio::test]
async fn row_101_a_process_without_output_has_crashed_and_its_group_goes_with_it() -> Outcome {
    let starts = Starts::new("group");
    let edge = edge().server("odd", starts.of(odd(""))).start().await?;
    for tool in ["mute", "orphan"] {
        let mut client = open(&edge).await?;
        let answer = call(&mut client, tool, json!({})).await?;
        let wanted = (Some(OUTCOME_UNKNOWN), json!("unknown"));
        same(format!("{tool}: {answer}"), told(&answer), wanted)?;
        until(format!("{tool}: nobody is left"), || async { starts.processes().is_empty() })
            .await?;
        same("the next call", client.call("echo", json!({})).await?.as_str(), "{}")?;
        let session = client.session_id().unwrap_or_default();
        let end = Request::new("DELETE", "/mcp/odd").header("Mcp-Session-Id", session);
        end.reply(edge.address).await?;
        until("the session's process ends", || async { starts.processes().is_empty() }).await?;
    }
    Ok(())
}

async fn open(edge: &Edge) -> Result<Client, Fault> {
    Client::open(edge, Transport::Mcp, Some("odd")).await
}
