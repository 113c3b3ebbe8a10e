//! How connections are kept, shared and given up.

use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::*;

#[tokio::test]
async fn accepted_answers_leave_the_connection_usable() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let target = server(move |mut socket, _number| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            while read_request(&mut socket).await.is_some() {
                let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 8\r\n\r\nAccepted";
                socket.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    let client = Client::new();
    for _ in 0..5 {
        let answer = post(&client, &target).await.unwrap();
        assert!(matches!(answer.kind, AnswerKind::Accepted));
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    for answer in
        [&b"HTTP/1.1 204 No Content\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]
    {
        let answer = post(&Client::new(), &answering(answer).await).await.unwrap();
        assert!(matches!(answer.kind, AnswerKind::Accepted));
    }
}

#[tokio::test]
async fn an_answer_that_is_passed_on_leaves_the_connection_usable() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let answers = ["8\r\n\r\nAccepted", "0\r\n\r\n"];
    let target = server(move |mut socket, _number| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            for answer in answers.iter().cycle() {
                if read_request(&mut socket).await.is_none() {
                    return;
                }
                let answer = format!("HTTP/1.1 202 Accepted\r\ncontent-length: {answer}");
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let client = Client::new();
    let is_out = AtomicBool::default();
    for _ in 0..6 {
        let request = Request::new(Bytes::from_static(b"{}"));
        let mut body = client.carry(&target, request, false, &is_out).await.unwrap().into_body();
        // As a server does that passes it on: what comes after the last byte it does not ask for.
        while !body.is_end_stream() {
            assert!(body.frame().await.unwrap().is_ok());
        }
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    // One that is given up before it is whole is not for others.
    for _ in 0..2 {
        let request = Request::new(Bytes::from_static(b"{}"));
        drop(client.carry(&target, request, false, &is_out).await.unwrap());
    }
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn closing_after_the_request_means_lost_and_it_is_not_sent_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let target = server(move |mut socket, number| {
        let counted = Arc::clone(&counted);
        async move {
            while read_request(&mut socket).await.is_some() {
                counted.fetch_add(1, Ordering::SeqCst);
                if number > 0 || counted.load(Ordering::SeqCst) > 1 {
                    return;
                }
                let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
                socket.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    let client = Client::new();
    // The second request goes over the kept connection, which breaks under it.
    assert!(post(&client, &target).await.is_ok());
    assert!(matches!(post(&client, &target).await, Err(HttpFault::Lost(_))));
    assert_eq!(requests.load(Ordering::SeqCst), 2);
    // The third goes over a fresh one.
    assert!(matches!(post(&client, &target).await, Err(HttpFault::Lost(_))));
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_kept_connection_closed_while_idle_is_replaced() {
    let target = server(|mut socket, _number| async move {
        read_request(&mut socket).await.unwrap();
        let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
        socket.write_all(answer).await.unwrap();
    })
    .await;
    let client = Client::new();
    let mut accepted = 0;
    for _ in 0..50 {
        match post(&client, &target).await {
            Ok(_) => accepted += 1,
            // The request and the closing may cross; then it must not be repeated.
            Err(HttpFault::Lost(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(accepted > 0);
}

#[tokio::test]
async fn what_is_idle_too_long_is_closed_and_what_is_in_use_is_not() {
    let (told, mut closed) = tokio::sync::mpsc::channel(1);
    let target = server(move |mut socket, _number| {
        let told = told.clone();
        async move {
            while read_request(&mut socket).await.is_some() {
                let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
                socket.write_all(answer).await.unwrap();
            }
            told.send(()).await.unwrap();
        }
    })
    .await;
    let client = Client::new();
    for _ in 0..2 {
        assert!(post(&client, &target).await.is_ok());
        client.sweep(Instant::now());
    }
    assert!(closed.try_recv().is_err());
    client.sweep(Instant::now() + Duration::from_secs(5));
    timeout(DEADLINE, closed.recv()).await.expect("the server sees the closing").unwrap();
    // The next request has a connection of its own.
    assert!(post(&client, &target).await.is_ok());
}

#[tokio::test]
async fn a_request_given_up_does_not_leave_its_answer_to_the_next() {
    let (told, mut arrived) = tokio::sync::mpsc::channel(1);
    let target = server(move |mut socket, number| {
        let told = told.clone();
        async move {
            read_request(&mut socket).await.unwrap();
            told.send(()).await.unwrap();
            if number == 0 {
                // No answer: the client hangs up.
                assert!(read_request(&mut socket).await.is_none());
                return;
            }
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2";
            socket.write_all(format!("{head}\r\n\r\n{{}}").as_bytes()).await.unwrap();
        }
    })
    .await;
    let client = Client::new();
    tokio::select! {
        answer = post(&client, &target) => panic!("{answer:?}"),
        seen = arrived.recv() => seen.unwrap(),
    }
    let answer = post(&client, &target).await.unwrap();
    assert!(matches!(answer.kind, AnswerKind::Json(text) if text == "{}"));
}

#[tokio::test]
async fn requests_share_an_http2_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let tasks = crate::supervise::Tasks::new();
    let both = Arc::new(tokio::sync::Barrier::new(2));
    tasks.spawn("test-server", async move {
        let (socket, _from) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
            let both = Arc::clone(&both);
            async move {
                assert!(request.uri().authority().is_some());
                assert!(!request.headers().contains_key(http::header::HOST));
                // Neither is answered before the other has come.
                both.wait().await;
                let answer = Response::builder().header("content-type", "application/json");
                answer.body(Outgoing::from("{}"))
            }
        });
        hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .serve_connection(hyper_util::rt::TokioIo::new(socket), service)
            .await
            .unwrap();
    });
    let client = Client::new();
    let target = Target::new(&url, []).unwrap();
    let socket = TcpStream::connect(target.authority()).await.unwrap();
    let stream = hyper_util::rt::TokioIo::new(socket).into();
    client.pool.put(target.origin(), Connection::shared(stream).await.unwrap());
    let (one, other) = tokio::join!(post(&client, &target), post(&client, &target));
    for answer in [one, other] {
        assert!(matches!(answer.unwrap().kind, AnswerKind::Json(text) if text == "{}"));
    }
}
