//! What Redis says when it does not do as asked, by what it means for us.

use std::fmt;

use redis::{ErrorKind, RedisError};
use redis_target::target;

/// A kind of fault: a label of `mcp_gateway_redis_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No answer in time: whether it was done is not known.
    Timeout,
    /// There is no connection.
    Away,
    /// The connection broke, or could not be made.
    Broken,
    /// TLS was spoken to a port without it, or could not be agreed on.
    Tls,
    /// It is a replica: it was demoted, or always was one.
    ReadOnly,
    /// It reads its data.
    Loading,
    /// It wants another password, or one at all.
    Login,
    /// The user may not do this.
    Denied,
    /// It has no memory left.
    Memory,
    /// It takes no more clients.
    MaxClients,
    /// Another node of a cluster has the key.
    Moved,
    /// The cluster has no node for the key.
    ClusterDown,
    /// No sentinel knows a master of that name.
    NoMaster,
    /// The settings do not fit what is there.
    Settings,
    /// What is kept could not be read.
    Data,
    /// Anything else.
    Other,
}

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// What the server or the system said; never an address with its password.
    pub(super) said: String,
}

impl Kind {
    /// What a fault means.
    pub(super) fn of(fault: &RedisError) -> Self {
        if target::wants_login(fault) {
            return Self::Login;
        }
        let code = fault.code().unwrap_or_default();
        match code {
            "OOM" => return Self::Memory,
            "READONLY" => return Self::ReadOnly,
            "LOADING" => return Self::Loading,
            "NOPERM" => return Self::Denied,
            "MOVED" | "ASK" | "CROSSSLOT" => return Self::Moved,
            "CLUSTERDOWN" | "MASTERDOWN" | "TRYAGAIN" => return Self::ClusterDown,
            _ => {}
        }
        let said = fault.to_string();
        if said.contains("max number of clients") {
            return Self::MaxClients;
        }
        if fault.is_timeout() {
            return Self::Timeout;
        }
        if is_tls(&said) {
            return Self::Tls;
        }
        let kind = fault.kind();
        let lasting = [ErrorKind::InvalidClientConfig, ErrorKind::RESP3NotSupported];
        if lasting.contains(&kind) || is_setting(&said) {
            Self::Settings
        } else if kind == ErrorKind::MasterNameNotFoundBySentinel {
            Self::NoMaster
        } else if kind == ErrorKind::ClusterConnectionNotFound {
            Self::ClusterDown
        } else if fault.is_unrecoverable_error() || fault.is_io_error() {
            Self::Broken
        } else {
            Self::Other
        }
    }

    /// The connection it came over is of no more use.
    pub(super) fn is_fatal(self) -> bool {
        match self {
            Self::Broken
            | Self::Tls
            | Self::ReadOnly
            | Self::Loading
            | Self::Login
            | Self::MaxClients
            | Self::ClusterDown
            | Self::NoMaster
            | Self::Settings => true,
            Self::Timeout
            | Self::Away
            | Self::Denied
            | Self::Memory
            | Self::Moved
            | Self::Data
            | Self::Other => false,
        }
    }

    /// Waiting does not help: somebody has to change the settings.
    pub(super) fn is_lasting(self) -> bool {
        match self {
            Self::Tls | Self::Login | Self::Denied | Self::Settings => true,
            Self::Timeout
            | Self::Away
            | Self::Broken
            | Self::ReadOnly
            | Self::Loading
            | Self::Memory
            | Self::MaxClients
            | Self::Moved
            | Self::ClusterDown
            | Self::NoMaster
            | Self::Data
            | Self::Other => false,
        }
    }

    /// The label.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Away => "away",
            Self::Broken => "broken",
            Self::Tls => "tls",
            Self::ReadOnly => "readonly",
            Self::Loading => "loading",
            Self::Login => "noauth",
            Self::Denied => "noperm",
            Self::Memory => "oom",
            Self::MaxClients => "maxclients",
            Self::Moved => "moved",
            Self::ClusterDown => "clusterdown",
            Self::NoMaster => "nomaster",
            Self::Settings => "settings",
            Self::Data => "data",
            Self::Other => "other",
        }
    }
}

impl Fault {
    pub(super) fn new(kind: Kind, said: impl Into<String>) -> Self {
        Self { kind, said: said.into() }
    }
}

/// For whoever has to change the settings.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = match self.kind {
            Kind::Login => "user or password is wrong or missing",
            Kind::Denied => "its user may not do what sessions need",
            Kind::Tls => "TLS cannot be agreed on",
            Kind::Timeout
            | Kind::Away
            | Kind::Broken
            | Kind::ReadOnly
            | Kind::Loading
            | Kind::Memory
            | Kind::MaxClients
            | Kind::Moved
            | Kind::ClusterDown
            | Kind::NoMaster
            | Kind::Settings
            | Kind::Data
            | Kind::Other => return f.write_str(&self.said),
        };
        write!(f, "{about} ({})", self.said)
    }
}

impl From<target::Fault> for Fault {
    fn from(fault: target::Fault) -> Self {
        let said = fault.to_string();
        let kind = match fault {
            target::Fault::NoAddress => Kind::Settings,
            target::Fault::NoMaster => Kind::NoMaster,
            // One that answers knows more than one that does not, unless another try may help.
            target::Fault::NoSentinel { sentinels, .. } => sentinels
                .into_iter()
                .map(|(_address, fault)| Self::from(fault).kind)
                .min_by_key(|kind| {
                    (kind.is_lasting(), matches!(kind, Kind::Timeout | Kind::Broken))
                })
                .unwrap_or(Kind::NoMaster),
            target::Fault::Timeout(_) => Kind::Timeout,
            target::Fault::Redis(fault) => return fault.into(),
        };
        Self { kind, said }
    }
}

impl From<RedisError> for Fault {
    fn from(fault: RedisError) -> Self {
        Self { kind: Kind::of(&fault), said: fault.to_string() }
    }
}

/// What rustls says when the other end speaks no TLS, or another one's.
fn is_tls(said: &str) -> bool {
    ["InvalidContentType", "corrupt message", "invalid peer certificate", "HandshakeFailure"]
        .iter()
        .any(|it| said.contains(it))
}

/// What Redis says about a database it does not have, a login it does not know, and a command of
/// clusters where there is none.
fn is_setting(said: &str) -> bool {
    ["DB index is out of range", "without any password configured", "cluster support disabled"]
        .iter()
        .any(|it| said.contains(it))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redis::ErrorKind;

    use super::*;

    #[test]
    fn sentinels_fail_for_good_only_if_all_of_them_do() {
        let login = || RedisError::from((ErrorKind::AuthenticationFailed, "no")).into();
        let late = || target::Fault::Timeout(Duration::ZERO);
        let kind = |faults: Vec<target::Fault>| {
            let sentinels = faults.into_iter().map(|fault| (String::new(), fault)).collect();
            Fault::from(target::Fault::NoSentinel { sentinels, told: 1 }).kind
        };
        assert_eq!(kind(vec![login(), login()]), Kind::Login);
        assert_eq!(kind(vec![login(), late()]), Kind::Timeout);
        assert_eq!(kind(vec![late(), target::Fault::NoMaster, login()]), Kind::NoMaster);
    }
}
