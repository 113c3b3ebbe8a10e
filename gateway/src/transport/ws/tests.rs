//! Frames of every kind, against a server of the same library.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

type Server = WebSocketStream<TcpStream>;

/// Connects to a server that selects the subprotocol or knows of none.
async fn pair(selects: bool) -> (Server, Speaker, Listener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/mcp", listener.local_addr().unwrap());
    let address = Address::new(&url, [("authorization", "Bearer x")]).unwrap();
    let accepting = async {
        loop {
            let (socket, _from) = listener.accept().await.unwrap();
            #[expect(clippy::result_large_err, reason = "the signature is the library's")]
            let greet = |request: &Request, mut response: Response| {
                let header = |name: &str| request.headers().get(name).cloned();
                assert_eq!(header("authorization").unwrap(), "Bearer x");
                let offered = header("sec-websocket-protocol");
                if selects {
                    assert_eq!(offered.as_ref().unwrap(), "mcp");
                    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offered.unwrap());
                } else if offered.is_some() {
                    return Ok(response);
                }
                Ok::<_, ErrorResponse>(response)
            };
            // A client that misses its subprotocol hangs up and comes back without.
            if let Ok(mut server) = Box::pin(accept_hdr_async(socket, greet)).await
                && server.send(Message::Ping(Bytes::new())).await.is_ok()
                && matches!(server.next().await, Some(Ok(Message::Pong(_))))
            {
                return server;
            }
        }
    };
    let connecting = async {
        let client = Client::new();
        let (mut speaker, mut listener) = connect(&client, &address, 64).await.unwrap();
        assert!(matches!(listener.next().await, Heard::Sign));
        speaker.flush().await.unwrap();
        (speaker, listener)
    };
    let (server, (speaker, listener)) =
        timeout(DEADLINE, async { tokio::join!(accepting, connecting) }).await.unwrap();
    (server, speaker, listener)
}

async fn ending(listener: &mut Listener) -> Ending {
    loop {
        match timeout(DEADLINE, listener.next()).await.unwrap() {
            Heard::End(ending) => return ending,
            Heard::Text(_) | Heard::Sign => {}
        }
    }
}

#[tokio::test]
async fn text_goes_both_ways_and_pings_are_answered() {
    for selects in [true, false] {
        let (mut server, mut speaker, mut listener) = pair(selects).await;
        speaker.write("{\"a\":1}".into()).await.unwrap();
        speaker.flush().await.unwrap();
        let frame = server.next().await.unwrap().unwrap();
        assert_eq!(frame, Message::text("{\"a\":1}"));
        server.send(Message::text("{\"b\":\"é\"}")).await.unwrap();
        let Heard::Text(text) = listener.next().await else { panic!("a text") };
        assert_eq!(text, "{\"b\":\"é\"}");
        speaker.ping().await.unwrap();
        assert_eq!(server.next().await.unwrap().unwrap(), Message::Ping(Bytes::new()));
        server.flush().await.unwrap();
        assert!(matches!(listener.next().await, Heard::Sign));
        speaker.close(1000).await.unwrap();
        let Some(Ok(Message::Close(Some(frame)))) = server.next().await else { panic!("a close") };
        assert_eq!(u16::from(frame.code), 1000);
    }
}

#[tokio::test]
async fn every_ending_is_told() {
    let (mut server, _speaker, mut listener) = pair(true).await;
    let frame = CloseFrame { code: 1012.into(), reason: "new\nversion".into() };
    server.send(Message::Close(Some(frame))).await.unwrap();
    let end = ending(&mut listener).await;
    assert_eq!(end.to_string(), "closed the WebSocket with code 1012 (restarting): new\\nversion");
    assert_eq!((end.answer_code(), end.is_fault()), (None, false));

    let (mut server, _speaker, mut listener) = pair(true).await;
    server.send(Message::Close(None)).await.unwrap();
    let end = ending(&mut listener).await;
    assert!(end.to_string().ends_with("code 1005 (no code)"), "{end}");

    let (server, _speaker, mut listener) = pair(true).await;
    drop(server);
    let end = ending(&mut listener).await;
    assert!(matches!(end, Ending::Broken(_)), "{end:?}");

    let (mut server, _speaker, mut listener) = pair(true).await;
    server.send(Message::binary("{}")).await.unwrap();
    let end = ending(&mut listener).await;
    assert_eq!((&end, end.answer_code(), end.is_fault()), (&Ending::Binary, Some(1003), true));

    let (mut server, mut speaker, mut listener) = pair(true).await;
    server.send(Message::text("x".repeat(65))).await.unwrap();
    let end = ending(&mut listener).await;
    assert_eq!((&end, end.answer_code()), (&Ending::TooLong { limit: 64 }, Some(1009)));
    speaker.close(1009).await.unwrap();
    let Some(Ok(Message::Close(Some(frame)))) = server.next().await else { panic!("a close") };
    assert_eq!(u16::from(frame.code), 1009);
}

#[tokio::test]
async fn bytes_that_are_no_frame_break_the_protocol() {
    use tokio::io::AsyncWriteExt as _;
    let (mut server, _speaker, mut listener) = pair(true).await;
    // A reserved opcode (RFC 6455 section 5.2).
    server.get_mut().write_all(&[0x83, 0x00]).await.unwrap();
    let end = ending(&mut listener).await;
    assert!(matches!(end, Ending::Fault(_)), "{end:?}");
    assert_eq!(end.answer_code(), Some(1002));

    let (mut server, _speaker, mut listener) = pair(true).await;
    server.get_mut().write_all(&[0x81, 0x01, 0xff]).await.unwrap();
    let end = ending(&mut listener).await;
    assert!(end.is_fault(), "{end:?}");
}

#[tokio::test]
async fn what_is_no_websocket_server_is_told() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let address = Address::new(&url, []).unwrap();
    let refusing = async {
        let (mut socket, _from) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(socket.read_buf(&mut head).await.unwrap(), 0);
        }
        let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
        socket.write_all(answer).await.unwrap();
    };
    let client = Client::new();
    let (refused, ()) = tokio::join!(connect(&client, &address, 64), refusing);
    assert!(matches!(refused.unwrap_err(), HttpFault::Status { code: 403, .. }));
    drop(listener);
    let refused = connect(&client, &address, 64).await.unwrap_err();
    assert!(matches!(refused, HttpFault::NotSent(_)), "{refused:?}");
    assert!(Address::new("ftp://h/", []).is_err());
}
