//! What can be chosen for a server of any kind.

/// Which era of the protocol a server is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EraChoice {
    /// It is asked.
    #[default]
    Auto,
    /// Revisions 2024-11-05 to 2025-11-25 only, which begin with `initialize`.
    Legacy,
    /// Revision 2026-07-28 only. Not for servers of the kinds `sse` and `ws`, which it does not
    /// have.
    Modern,
}

/// What becomes of a session whose replica is lost, with the state it had at a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnerLoss {
    /// It goes on: the server is initialised again with the client's own params, and whatever else
    /// it held for the client is gone.
    #[default]
    Reinitialize,
    /// It ends, for servers whose clients have to know: they are told 404 and begin anew.
    End,
}
