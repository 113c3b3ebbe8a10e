//! The catalogue of bad input on a WebSocket: the upgrade, the frames, the messages in them.

use edge_tests::edge::{Edge, edge, stdio};
use edge_tests::http1::{Incoming, Request};
use edge_tests::{Fault, Outcome, same, within};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

#[tokio::test]
async fn upgrades_that_are_refused() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let upgrade = || {
        Request::new("GET", "/ws/fixture")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    let version = "sec-websocket-version";
    for (what, request, status) in [
        ("71 foreign origin", upgrade().header("Origin", "https://evil.example.com"), 403),
        ("71 foreign host", upgrade().header("Host", "evil.example.com"), 403),
        ("71 own origin", upgrade().header("Origin", "http://localhost:8080"), 101),
        ("72 version 12", upgrade().without(version).header("Sec-WebSocket-Version", "12"), 426),
        ("72 no key", upgrade().without("sec-websocket-key"), 400),
        ("unknown server", upgrade().path("/ws/other"), 404),
    ] {
        same(what, request.send(edge.address).await?.status, status)?;
    }
    let plain = Request::new("GET", "/ws/fixture").send(edge.address).await?;
    same("a plain GET", (400..500).contains(&plain.status), true)
}

#[tokio::test]
async fn the_subprotocol_is_selected_when_offered_and_only_then() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    for (offered, selected) in
        [(Some("mcp"), Some("mcp")), (Some("graphql-ws, mcp"), Some("mcp")), (None, None)]
    {
        let got = upgrade_raw(&edge, offered).await?;
        let got = got.header("sec-websocket-protocol").map(str::to_owned);
        same(format!("offered {offered:?}"), got.as_deref(), selected)?;
        let compressed = got.as_deref().is_some_and(|text| text.contains("deflate"));
        same("85 no compression", compressed, false)?;
    }
    Ok(())
}

#[tokio::test]
async fn malformed_json_is_answered_and_the_socket_stays() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let mut socket = open(&edge).await?;
    socket.send(Message::text("{not json")).await?;
    let answer = text(&mut socket).await?;
    same("81 code", answer.pointer("/error/code").and_then(Value::as_i64), Some(-32700))?;
    same("81 id", answer.get("id"), Some(&Value::Null))?;
    socket.send(Message::text(json!({"type": "ping"}).to_string())).await?;
    same("pong", text(&mut socket).await?, json!({"type": "pong"}))
}

#[tokio::test]
async fn a_binary_frame_closes_with_1003() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let mut socket = open(&edge).await?;
    socket.send(Message::binary(vec![1, 2, 3])).await?;
    same("73", close_code(&mut socket).await?, Some(1003))
}

#[tokio::test]
async fn text_that_is_not_utf8_closes_with_1007() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    same("74", raw_frame(&edge, &masked(0x81, &[0xC3, 0x28])).await?, Some(1007))
}

#[tokio::test]
async fn a_frame_against_the_rules_closes_with_1002() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    same("76 unmasked", raw_frame(&edge, &[0x81, 2, b'{', b'}']).await?, Some(1002))?;
    same("76 reserved opcode", raw_frame(&edge, &masked(0x83, b"{}")).await?, Some(1002))?;
    same("76 RSV1", raw_frame(&edge, &masked(0xC1, b"{}")).await?, Some(1002))?;
    same("76 a ping in fragments", raw_frame(&edge, &masked(0x09, b"")).await?, Some(1002))
}

#[tokio::test]
async fn a_message_that_is_too_long_closes_with_1009() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    // Only the head of the frame is sent: the length alone must be enough to refuse it.
    let mut head = vec![0x81, 0xFF];
    head.extend((4_u64 * 1024 * 1024 + 1).to_be_bytes());
    head.extend([0; 4]);
    same("75", raw_frame(&edge, &head).await?, Some(1009))
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

async fn upgrade_raw(edge: &Edge, offered: Option<&str>) -> Result<Incoming, Fault> {
    let mut request = Request::new("GET", "/ws/fixture")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Extensions", "permessage-deflate");
    if let Some(offered) = offered {
        request = request.header("Sec-WebSocket-Protocol", offered);
    }
    request.send(edge.address).await
}

/// Upgrades by hand, sends the bytes of a frame and reads the code of the close frame.
async fn raw_frame(edge: &Edge, frame: &[u8]) -> Result<Option<u16>, Fault> {
    within("a close frame", async {
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
        stream.write_all(frame).await?;
        loop {
            let (first, length) = (stream.read_u8().await?, stream.read_u8().await?);
            let mut payload = vec![0; usize::from(length)];
            stream.read_exact(&mut payload).await?;
            if first == 0x88 {
                let mut code = payload.iter().map(|byte| u16::from(*byte));
                let code = code.next().zip(code.next());
                return Ok::<_, Fault>(code.map(|(high, low)| high * 256 + low));
            }
        }
    })
    .await
}

/// A short client frame, masked with zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap_or(125);
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}
