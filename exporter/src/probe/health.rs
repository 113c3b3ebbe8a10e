//! `GET /health`: does the stack serve at all.

use http::{Method, StatusCode};

use super::{Way, empty};
use crate::dial::{self, Phases};

/// Succeeds when `/health` is 200.
pub(super) async fn probe(way: &Way, phases: &mut Phases) -> Result<(), String> {
    let stream = way.open(phases).await?;
    let request = way.request(Method::GET, "/health").body(empty());
    let request = request.map_err(|fault| fault.to_string())?;
    dial::exchange(stream, async |mut sender| {
        let response = dial::send(&mut sender, request).await?;
        phases.done("response");
        let status = response.status();
        dial::body(response).await?;
        phases.done("transfer");
        if status == StatusCode::OK { Ok(()) } else { Err(format!("/health is {status}")) }
    })
    .await
}
