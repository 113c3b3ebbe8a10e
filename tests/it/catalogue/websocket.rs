//! C, WebSocket: the upgrade, the frames, the messages in them.
//!
//! Rows 80 and 82, which take their time, are in `gateway/tests/surface.rs`.

use std::time::{Duration, Instant};

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, edge, stdio, stdio_alone};
use edge_tests::http1::Request;
use edge_tests::{Fault, Outcome, same, until, within};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const HEARTBEAT: &str = r#"{"type":"ping"}"#;
const INITIALIZE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","#,
    r#""capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#
);

const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const LONG_CALL: &str = concat!(
    r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"slow","#,
    r#""arguments":{"ms":60000,"steps":1}}}"#
);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

#[tokio::test]
async fn row_71_a_foreign_origin_is_refused_before_the_upgrade() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    for (what, request, status) in [
        ("foreign origin", upgrade().header("Origin", "https://evil.example.com"), 403),
        ("null origin", upgrade().header("Origin", "null"), 403),
        ("foreign host", upgrade().header("Host", "evil.example.com"), 403),
        ("own origin", upgrade().header("Origin", "http://localhost:8080"), 101),
        ("unknown server", upgrade().path("/ws/other"), 404),
    ] {
        same(what, request.send(edge.address).await?.status, status)?;
    }
    Ok(())
}

#[tokio::test]
async fn row_72_what_is_no_upgrade_is_told_what_is_missing() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let (version, key) = ("sec-websocket-version", "sec-websocket-key");
    let post = Request::post("/ws/fixture", "{}").header("Upgrade", "websocket");
    for (what, request, status) in [
        ("version 12", upgrade().without(version).header("Sec-WebSocket-Version", "12"), 426),
        ("no version", upgrade().without(version), 426),
        ("another protocol", upgrade().without("upgrade").header("Upgrade", "h2c"), 426),
        ("a plain GET", Request::new("GET", "/ws/fixture"), 426),
        ("no key", upgrade().without(key), 400),
        ("POST", post.header("Connection", "Upgrade"), 405),
    ] {
        let reply = request.reply(edge.address).await?;
        same(what, reply.status, status)?;
        let wanted = (status == 426).then_some("13");
        same(format!("{what}: version"), reply.header(version), wanted)?;
        let allowed = (status == 405).then_some("GET");
        same(format!("{what}: allowed"), reply.header("allow"), allowed)?;
    }
    Ok(())
}

#[tokio::test]
async fn row_73_a_binary_frame_closes_with_1003() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let mut socket = open(&edge).await?;
    socket.send(Message::binary(vec![1, 2, 3])).await?;
    same("close code", close_code(&mut socket).await?, Some(1003))
}

#[tokio::test]
async fn row_74_text_that_is_not_utf8_closes_with_1007() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    same("in one frame", close_code_of(&edge, &masked(0x81, &[0xC3, 0x28])).await?, Some(1007))?;
    let split = [masked(0x01, b"\"\xC3"), masked(0x80, b"\x28\"")].concat();
    same("split across fragments", close_code_of(&edge, &split).await?, Some(1007))
}

#[tokio::test]
async fn row_75_a_frame_or_message_that_is_too_long_closes_with_1009() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let before = edge.process()?.memory_kib();
    // Only the heads of the frames are sent: the length alone must be enough to refuse them.
    for length in [(1 << 20) + 1, (4 << 20) + 1, u64::MAX >> 1] {
        let head = [&[0x81, 0xFF][..], &length.to_be_bytes(), &[0; 4]].concat();
        same(format!("a frame of {length}"), close_code_of(&edge, &head).await?, Some(1009))?;
    }
    let part = |first: u8, length: usize| {
        let head = [&[first, 0xFF][..], &(length as u64).to_be_bytes(), &[0; 4]].concat();
        [head, vec![b'x'; length]].concat()
    };
    let mut message = part(0x01, 1 << 20);
    (0..3).for_each(|_| message.extend(part(0x00, 1 << 20)));
    message.extend(part(0x80, 1));
    same("a message of 4 MiB + 1", close_code_of(&edge, &message).await?, Some(1009))?;
    let grown = edge.process()?.peak_memory_kib().saturating_sub(before);
    same(format!("memory grew by {grown} KiB"), grown < 20 * 1024, true)
}

#[tokio::test]
async fn row_76_a_frame_against_the_rules_closes_with_1002() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let long_ping = [&[0x89, 0xFE, 0, 126, 0, 0, 0, 0][..], &[0; 126]].concat();
    for (what, frames) in [
        ("unmasked", vec![0x81, 2, b'{', b'}']),
        ("reserved opcode", masked(0x83, b"{}")),
        ("RSV1", masked(0xC1, b"{}")),
        ("a control frame of 126 bytes", long_ping),
        ("a ping in fragments", masked(0x09, b"")),
        ("a continuation of nothing", masked(0x80, b"{}")),
    ] {
        same(what, close_code_of(&edge, &frames).await?, Some(1002))?;
    }
    Ok(())
}

#[tokio::test]
async fn row_77_a_message_that_is_never_finished_closes_with_1008() -> Outcome {
    let limits = json!({"body_timeout": "1s"});
    let edge = edge().server("fixture", stdio()).setting("limits", limits).start().await?;
    let begun = Instant::now();
    let fragment = masked(0x01, b"{");
    same("a first fragment", close_code_of(&edge, &fragment).await?, Some(1008))?;
    let took = begun.elapsed();
    same(format!("after {took:?}"), took >= Duration::from_secs(1), true)?;
    same("half a frame", close_code_of(&edge, &[0x81, 0x85, 0]).await?, Some(1008))?;
    let ping = [fragment, masked(0x89, b"")].concat();
    same("a fragment and a ping", close_code_of(&edge, &ping).await?, Some(1008))?;
    // A socket between messages rests for as long as it likes.
    let mut socket = open(&edge).await?;
    // The pause is what is tested.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    socket.send(Message::text(HEARTBEAT)).await?;
    same("pong", text(&mut socket).await?, json!({"type": "pong"}))
}

#[tokio::test]
async fn row_78_a_message_in_too_many_fragments_closes_with_1009() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let pieces = |count: usize| {
        let mut frames = masked(0x01, b"x");
        (2..count).for_each(|_| frames.extend(masked(0x00, b"x")));
        frames.extend(masked(0x80, b"x"));
        frames
    };
    same("4097 fragments", close_code_of(&edge, &pieces(4097)).await?, Some(1009))?;
    // One less is a message, and no JSON; the second message is what closes the socket.
    let frames = [pieces(4096), masked(0x82, b"")].concat();
    same("4096 fragments", close_code_of(&edge, &frames).await?, Some(1003))
}

#[tokio::test]
async fn row_79_a_flood_of_pings_closes_with_1008() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    same("21 pings", close_code_of(&edge, &masked(0x89, b"p").repeat(21)).await?, Some(1008))?;
    same("21 pongs", close_code_of(&edge, &masked(0x8A, b"p").repeat(21)).await?, Some(1008))?;
    let frames = [masked(0x89, b"p").repeat(20), masked(0x82, b"")].concat();
    same("20 pings", close_code_of(&edge, &frames).await?, Some(1003))
}

#[tokio::test]
async fn row_81_malformed_json_is_answered_and_the_socket_stays() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let mut socket = open(&edge).await?;
    socket.send(Message::text("{not json")).await?;
    let answer = text(&mut socket).await?;
    same("code", answer.pointer("/error/code"), Some(&json!(-32700)))?;
    same("id", answer.get("id"), Some(&Value::Null))?;
    same("dispatched", answer.pointer("/error/data/dispatched"), Some(&json!(false)))?;
    socket.send(Message::text(HEARTBEAT)).await?;
    same("pong", text(&mut socket).await?, json!({"type": "pong"}))
}

#[tokio::test]
async fn row_83_a_close_code_that_nobody_may_send_is_answered_with_1002() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 2999, 5000, u16::MAX] {
        let frame = masked(0x88, &code.to_be_bytes());
        same(format!("close {code}"), close_code_of(&edge, &frame).await?, Some(1002))?;
    }
    for code in [1000_u16, 1001, 3000, 4999] {
        let frame = masked(0x88, &code.to_be_bytes());
        same(format!("close {code}"), close_code_of(&edge, &frame).await?, Some(code))?;
    }
    same("one byte of a code", close_code_of(&edge, &masked(0x88, &[3])).await?, Some(1002))
}

#[tokio::test]
async fn row_84_a_connection_cut_within_a_frame_ends_its_session_and_no_other() -> Outcome {
    let edge = edge().server("fixture", stdio_alone()).start().await?;
    let mut other = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    let slow = json!({"name": "slow", "arguments": {"ms": 1500, "steps": 1}});
    let waiting = other.begin("tools/call", slow).await?;
    let mut cut = upgrade_by_hand(&edge).await?;
    for text in [INITIALIZE, INITIALIZED, LONG_CALL] {
        cut.write_all(&masked(0x81, text.as_bytes())).await?;
    }
    until("both have a process", || async { edge.descendants().len() == 2 }).await?;
    // The head of a frame and a part of its payload, then a reset.
    cut.write_all(&[0x81, 0xFE, 1, 0, 0, 0, 0, 0, b'{']).await?;
    cut.set_zero_linger()?;
    drop(cut);
    until("its process ends", || async { edge.descendants().len() == 1 }).await?;
    let answer = other.answer(&json!(waiting)).await?;
    let said = answer.pointer("/result/content/0/text").and_then(Value::as_str);
    same("the other session's call", said, Some("slept 1500 ms"))
}

#[tokio::test]
async fn row_85_compression_is_not_negotiated() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    for (offered, selected) in [
        (Some("mcp"), Some("mcp")),
        (Some("graphql-ws, mcp"), Some("mcp")),
        (Some("graphql-ws"), None),
        (None, None),
    ] {
        let mut request = upgrade().header("Sec-WebSocket-Extensions", "permessage-deflate");
        if let Some(offered) = offered {
            request = request.header("Sec-WebSocket-Protocol", offered);
        }
        let got = request.send(edge.address).await?;
        same("status", got.status, 101)?;
        same("extensions", got.header("sec-websocket-extensions"), None)?;
        same(format!("offered {offered:?}"), got.header("sec-websocket-protocol"), selected)?;
    }
    Ok(())
}

fn upgrade() -> Request {
    Request::new("GET", "/ws/fixture")
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

async fn open(edge: &Edge) -> Result<Socket, Fault> {
    let request = format!("ws://{}/ws/fixture", edge.address).into_client_request()?;
    let (socket, _head) = within("the upgrade", tokio_tungstenite::connect_async(request)).await?;
    Ok(socket)
}

async fn text(socket: &mut Socket) -> Result<Value, Fault> {
    within("a text frame", async {
        while let Some(frame) = socket.next().await {
            if let Message::Text(text) = frame? {
                return Ok(serde_json::from_str(&text)?);
            }
        }
        Err(Fault::from("the socket was closed"))
    })
    .await
}

async fn close_code(socket: &mut Socket) -> Result<Option<u16>, Fault> {
    within("a close frame", async {
        while let Some(frame) = socket.next().await {
            if let Message::Close(close) = frame? {
                return Ok(close.map(|close| close.code.into()));
            }
        }
        Err(Fault::from("the connection ended without a close frame"))
    })
    .await
}

/// Upgrades by hand.
async fn upgrade_by_hand(edge: &Edge) -> Result<TcpStream, Fault> {
    within("the upgrade", async {
        let mut stream = TcpStream::connect(edge.address).await?;
        let head = format!(
            "GET /ws/fixture HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            edge.address
        );
        stream.write_all(head.as_bytes()).await?;
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(stream.read_u8().await?);
        }
        Ok::<_, Fault>(stream)
    })
    .await
}

/// Upgrades by hand, sends the bytes of frames and reads the code of the close frame.
async fn close_code_of(edge: &Edge, frames: &[u8]) -> Result<Option<u16>, Fault> {
    let stream = upgrade_by_hand(edge).await?;
    let (mut read, mut write) = stream.into_split();
    let (sent, code) = tokio::join!(
        // A gateway that has had enough may hang up before it has read everything.
        write.write_all(frames),
        within("a close frame", async {
            loop {
                let (first, length) = (read.read_u8().await?, read.read_u8().await?);
                let length = match length {
                    126 => u64::from(read.read_u16().await?),
                    127 => read.read_u64().await?,
                    short => u64::from(short),
                };
                let mut payload = vec![0; usize::try_from(length)?];
                read.read_exact(&mut payload).await?;
                if first == 0x88 {
                    let mut code = payload.iter().map(|byte| u16::from(*byte));
                    let code = code.next().zip(code.next());
                    return Ok::<_, Fault>(code.map(|(high, low)| high * 256 + low));
                }
            }
        })
    );
    drop(sent);
    code
}

/// A client frame of less than 64 KiB, masked with zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let head = match u8::try_from(length) {
        Ok(short @ 0..126) => vec![first, 0x80 | short],
        Ok(_) | Err(_) => [&[first, 0xFE][..], &length.to_be_bytes()].concat(),
    };
    [&head[..], &[0; 4], payload].concat()
}
