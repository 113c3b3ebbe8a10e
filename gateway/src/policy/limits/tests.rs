//! Whose requests count together, and what becomes of a limit when the store is away.

use super::*;
use crate::config::Rate;
use crate::session::fixture::Distant;
use crate::session::id::Keyring;
use crate::session::lease::Lease;
use crate::session::memory::MemoryStore;
use crate::session::principal::Principal;
use crate::session::tenure::Replica;
use crate::telemetry::metrics::outlook::Outlook;

const WINDOW: Duration = Duration::from_hours(1);

fn config() -> RateLimit {
    let rate = |max| Rate { max, window: WINDOW, burst: max };
    let tools = vec![ToolRate { pattern: "files/*".to_owned(), rate: rate(3) }];
    RateLimit { enabled: true, caller: rate(10), address: rate(20), tools, ..RateLimit::default() }
}

fn limits(config: &RateLimit, store: Arc<dyn Store>) -> (Limits, Arc<Standing>) {
    let (replica, lease) = (Replica::new("a", "http://127.0.0.1:1"), Arc::new(Lease::always()));
    let standing = Arc::new(Standing::new(store.clone(), replica, lease));
    let metrics = Arc::new(Metrics::new().unwrap());
    (Limits::new(config, store, standing.clone(), metrics), standing)
}

fn alone(config: &RateLimit) -> Limits {
    limits(config, Arc::new(MemoryStore::alone())).0
}

fn caller(limits: &Limits, address: &str, credential: Option<&str>) -> Caller {
    let keyring = Keyring::new(Some("a secret of the tests"));
    let holder = || Some(keyring.holder(&Principal::of_credential(credential?)));
    limits.caller(address.parse().unwrap(), holder).unwrap()
}

async fn passed(limits: &Limits, caller: Caller, tries: usize) -> usize {
    let mut passed = 0;
    for _ in 0..tries {
        passed += usize::from(limits.take(caller, 1).await.is_ok());
    }
    passed
}

#[tokio::test]
async fn callers_have_buckets_of_their_own_and_a_subscriber_of_ipv6_has_one() {
    let limits = alone(&config());
    let by = |address: &str| caller(&limits, address, None);
    assert_eq!(passed(&limits, by("203.0.113.7"), 30).await, 10);
    assert_eq!(passed(&limits, by("203.0.113.8"), 30).await, 10);
    assert_eq!(passed(&limits, by("2001:db8::1"), 6).await, 6);
    assert_eq!(passed(&limits, by("2001:db8::ffff:2"), 30).await, 4);
    assert_eq!(passed(&limits, by("2001:db8:0:1::1"), 30).await, 10);
}

#[tokio::test]
async fn a_credential_counts_only_where_it_is_said_to_be_verified() {
    let limits = alone(&config());
    let one = caller(&limits, "203.0.113.7", Some("1"));
    assert_eq!(one, caller(&limits, "203.0.113.7", Some("2")), "anybody can make one up");
    let limits = alone(&RateLimit { by: CallerBy::Credential, ..config() });
    let one = caller(&limits, "203.0.113.7", Some("1"));
    assert_eq!(one, caller(&limits, "203.0.113.8", Some("1")));
    assert_ne!(one, caller(&limits, "203.0.113.7", Some("2")));
    let nobody = caller(&limits, "203.0.113.7", None);
    assert_ne!(nobody, caller(&limits, "203.0.113.8", None), "one bucket for everybody");
    assert_eq!(passed(&limits, one, 30).await, 10);
    assert_eq!(passed(&limits, nobody, 30).await, 10);
}

#[tokio::test]
async fn a_refusal_says_what_was_too_much_and_when_to_come_back() {
    let limits = alone(&config());
    let one = caller(&limits, "203.0.113.7", None);
    limits.take(one, 10).await.unwrap();
    let refusal = limits.take(one, 1).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::RateLimited);
    let wait = refusal.retry_after.unwrap();
    assert!(wait <= WINDOW / 10 && wait > WINDOW / 10 - Duration::from_secs(30), "{wait:?}");
    assert_eq!(wait.subsec_micros() % 1000, 0, "{wait:?}");
    assert!(refusal.message.starts_with("too many requests (rate_limit.max); try again in "));
    let refusal = limits.take(one, 11).await.unwrap_err();
    assert!(refusal.message.contains("never let through at once"), "{}", refusal.message);
    assert!(!refusal.message.contains("try again"), "{}", refusal.message);
    assert!(!refusal.retryable() && refusal.retry_after.is_none(), "{refusal:?}");
    let address = "203.0.113.7".parse().unwrap();
    assert_eq!((0..30).filter(|_| limits.pass(address).is_ok()).count(), 20);
    let refusal = limits.pass(address).unwrap_err();
    assert!(refusal.message.contains("from this address"), "{}", refusal.message);
    let armed = limits.0.as_ref().unwrap();
    let figures = String::from_utf8(armed.metrics.render(&Outlook::default())).unwrap();
    for (scope, count) in [("address", 11), ("identity", 2), ("tool", 0)] {
        let line = format!("mcp_gateway_rate_limited_total{{scope=\"{scope}\"}} {count}\n");
        assert!(figures.contains(&line), "{line} in {figures}");
    }
}

#[tokio::test]
async fn tools_have_limits_beside_their_callers() {
    let limits = alone(&config());
    assert_eq!(limits.rule("docs", "read"), None);
    let rule = limits.rule("files", "read").unwrap();
    assert_eq!(limits.rule("files", "write"), Some(rule), "all that a rule fits count together");
    for address in ["203.0.113.7", "203.0.113.8"] {
        let caller = caller(&limits, address, None);
        for _ in 0..3 {
            limits.take_call(caller, rule).await.unwrap();
        }
        let refusal = limits.take_call(caller, rule).await.unwrap_err();
        assert!(refusal.message.starts_with("too many calls of this tool"), "{refusal}");
        assert_eq!(passed(&limits, caller, 30).await, 10);
    }
}

#[tokio::test]
async fn without_the_setting_nothing_is_limited_or_remembered() {
    let limits = alone(&RateLimit { enabled: false, ..config() });
    assert!(!limits.are_on() && limits.rule("files", "read").is_none());
    let address = "203.0.113.7".parse().unwrap();
    assert_eq!(limits.caller(address, || panic!("nobody asks")), None);
    assert!((0..1000).all(|_| limits.pass(address).is_ok()));
    assert!(!format!("{limits:?}").contains("Armed"));
}

#[tokio::test]
async fn replicas_share_a_limit_and_divide_it_while_the_store_is_away() {
    let shared = MemoryStore::shared(Arc::new(Instant::now));
    let store = || Arc::new(Distant::of(shared.clone()));
    let (near, far) = (store(), store());
    let (one, standing) = limits(&config(), near.clone());
    let (other, _) = limits(&config(), far);
    let by = caller(&one, "203.0.113.7", None);
    assert_eq!(passed(&one, by, 6).await, 6);
    assert_eq!(passed(&other, by, 30).await, 4);
    assert_eq!(passed(&one, by, 30).await, 0);
    // Another replica is known of: each gives out half.
    let beat = crate::session::store::Beat {
        replica: Replica::new("b", "http://127.0.0.1:2"),
        number: 1,
        is_draining: false,
    };
    shared.beat(beat).await.unwrap();
    assert_eq!(standing.peers_anew().await.len(), 1);
    near.set_away(true);
    assert_eq!(passed(&one, by, 30).await, 5);
    near.set_away(false);
    assert_eq!(passed(&one, by, 30).await, 0, "what is shared was not given back");
}
