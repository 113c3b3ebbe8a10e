//! A DNS server with one answer, which a test may change.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::Fault;

/// Bytes of a query without extensions (RFC 1035 §4.2.1).
const QUERY_BYTES: usize = 512;
const HEADER_BYTES: usize = 12;
/// Class and type of a question.
const QUESTION_END_BYTES: usize = 4;
const TYPE_A: [u8; 2] = [0, 1];

/// A running one; dropping it stops it.
#[derive(Debug)]
pub struct Dns {
    /// Where it listens.
    pub address: SocketAddr,
    answer: Arc<Mutex<Vec<Ipv4Addr>>>,
    _tasks: JoinSet<()>,
}

/// Starts one that knows every name by these addresses.
///
/// # Errors
/// There is no port.
pub async fn dns(answer: &[Ipv4Addr]) -> Result<Dns, Fault> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = socket.local_addr()?;
    let answer = Arc::new(Mutex::new(answer.to_vec()));
    let known = answer.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut query = [0; QUERY_BYTES];
        while let Ok((length, client)) = socket.recv_from(&mut query).await {
            let query: Vec<u8> = query.iter().copied().take(length).collect();
            let Some(response) = respond(&query, &known.lock()) else { continue };
            let _gone = socket.send_to(&response, client).await;
        }
    });
    Ok(Dns { address, answer, _tasks: tasks })
}

impl Dns {
    /// From now on every name has these addresses.
    pub fn set(&self, answer: &[Ipv4Addr]) {
        *self.answer.lock() = answer.to_vec();
    }
}

/// The whole response; a name that has no address of the type asked for exists all the same.
fn respond(query: &[u8], addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    let question = query.get(HEADER_BYTES..)?;
    let name_length = question.iter().position(|byte| *byte == 0)?.saturating_add(1);
    let question = question.get(..name_length.saturating_add(QUESTION_END_BYTES))?;
    let is_a = question.get(name_length..)?.starts_with(&TYPE_A);
    let addresses = if is_a { addresses } else { &[] };
    let mut response = query.get(..2)?.to_vec();
    // A response, recursion wanted and available, no error; one question.
    response.extend([0x81, 0x80, 0, 1]);
    response.extend(u16::try_from(addresses.len()).ok()?.to_be_bytes());
    response.extend([0; 4]);
    response.extend(question);
    for address in addresses {
        // The name of the question, A, IN, one second, four bytes.
        response.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        response.extend(address.octets());
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_to_who_asks_for_one_of_its_kind() {
        let query = |kind: u8| {
            let mut query = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            query.extend(b"\x02gw\x00");
            query.extend([0, kind, 0, 1]);
            query
        };
        let told = respond(&query(1), &[Ipv4Addr::new(127, 0, 0, 9)]).unwrap();
        assert!(told.starts_with(&[7, 7, 0x81, 0x80, 0, 1, 0, 1]), "{told:?}");
        assert!(told.ends_with(&[0, 4, 127, 0, 0, 9]), "{told:?}");
        let told = respond(&query(28), &[Ipv4Addr::new(127, 0, 0, 9)]).unwrap();
        assert_eq!(told.len(), query(28).len());
        assert_eq!(respond(&[0; 8], &[]), None);
    }
}
