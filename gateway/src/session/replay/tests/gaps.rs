//! What a reader gets whose place in the log is gone.

use super::*;

#[test]
fn after_a_gap_comes_what_is_left_or_what_nobody_read() {
    let mut log = log(Caps { events: 3, ..WIDE });
    let all = StreamTag::STANDALONE;
    let reader = attach(&mut log, all, 0);
    for text in ["1", "2", "3", "4"] {
        note(&mut log, all, text);
        assert!(matches!(poll(&mut log, all, reader), Seen::Event(_)));
    }
    log.detach(all, reader);
    note(&mut log, all, "5");
    let older = log.event_id(all, 1);
    assert_eq!(log.position(&older), Err(Gap));
    assert_eq!(log.remainder(&older), 2);
    let kept = log.event_id(all, 2);
    assert_eq!((log.position(&kept), log.remainder(&kept)), (Ok((all, 2)), 4));
    assert_eq!(log.remainder(&EventId { epoch: 7, ..older }), 4, "of another log");
    assert_eq!(log.remainder(&EventId { stream: StreamTag(1), ..older }), 4, "of another stream");
    assert_eq!(log.remainder(&log.event_id(all, 99)), 4, "of the future");
    let rest = log.remainder(&older);
    let reader = attach(&mut log, all, rest);
    assert_eq!(drain(&mut log, all, reader), (vec![3, 4, 5], Seen::Pending));
}
