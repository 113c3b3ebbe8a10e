//! A client of each transport, written to cost the load generator little.

mod connection;
pub(crate) mod legacy_sse;
pub(crate) mod streamable;
pub(crate) mod websocket;

use std::net::SocketAddr;

use anyhow::{Result, bail};
use bytes::Bytes;

use crate::call::{INITIALIZED, initialize, verify_initialize};
use legacy_sse::LegacySse;
use streamable::Streamable;
use websocket::WebSocket;

/// How a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// POST and JSON replies.
    Streamable,
    /// HTTP+SSE, revision 2024-11-05.
    LegacySse,
    /// JSON-RPC in text frames.
    WebSocket,
    /// POST and JSON replies in revision 2026-07-28, which has no sessions.
    Modern,
}

/// Where a server is to be found.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    /// Where the session is opened, if that is another address.
    pub(crate) opened_at: Option<SocketAddr>,
    /// Lines that every request has besides.
    pub(crate) headers: &'static str,
}

/// One session.
#[derive(Debug)]
pub(crate) enum Client {
    Streamable(Streamable),
    Modern(Streamable),
    LegacySse(LegacySse),
    WebSocket(Box<WebSocket>),
}

impl Client {
    /// Connects, and initialises the session if there is to be one.
    pub(crate) async fn open(transport: Transport, place: &Place) -> Result<Self> {
        if let Some(address) = place.opened_at {
            return Self::open_elsewhere(transport, place, address).await;
        }
        let mut client = match transport {
            Transport::Streamable => Self::Streamable(Streamable::connect(place).await?),
            Transport::LegacySse => Self::LegacySse(LegacySse::connect(place).await?),
            Transport::WebSocket => Self::WebSocket(Box::new(WebSocket::connect(place).await?)),
            Transport::Modern => {
                return Ok(Self::Modern(Streamable::connect_modern(place).await?));
            }
        };
        verify_initialize(&client.call(&initialize()).await?)?;
        match &mut client {
            Self::Streamable(client) => client.notify(INITIALIZED).await?,
            Self::LegacySse(client) => client.notify(INITIALIZED).await?,
            Self::WebSocket(client) => client.send(INITIALIZED).await?,
            Self::Modern(_) => {}
        }
        Ok(client)
    }

    /// Opens a session at another address, and goes on with it at its own.
    async fn open_elsewhere(
        transport: Transport,
        place: &Place,
        address: SocketAddr,
    ) -> Result<Self> {
        let there = Place { address, opened_at: None, ..place.clone() };
        let mut client = Box::pin(Self::open(transport, &there)).await?;
        match &mut client {
            Self::Streamable(client) => client.go_on_at(place).await?,
            Self::Modern(_) | Self::LegacySse(_) | Self::WebSocket(_) => {
                bail!("{transport:?} is measured where it is opened")
            }
        }
        Ok(client)
    }

    /// Sends a request and returns its answer.
    pub(crate) async fn call(&mut self, request: &str) -> Result<Bytes> {
        match self {
            Self::Streamable(client) | Self::Modern(client) => client.call(request).await,
            Self::LegacySse(client) => client.call(request).await,
            Self::WebSocket(client) => client.call(request).await,
        }
    }

    /// Ends the session.
    pub(crate) async fn close(self) -> Result<()> {
        match self {
            Self::Streamable(mut client) => client.delete().await,
            // Here the connection is the session, or there is none.
            Self::LegacySse(_) | Self::WebSocket(_) | Self::Modern(_) => Ok(()),
        }
    }
}
