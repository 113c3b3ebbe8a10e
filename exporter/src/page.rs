//! The page for people: what is up, what is not and why, in one look and without scripts.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use crate::rounds::Rounds;
use crate::snapshot::Snapshot;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5d6778;--line:#dfe3ea;--card:#fff;\
--ground:#f5f6f9;--good:#12813f;--bad:#c3272b;--wait:#9a6700}\
@media(prefers-color-scheme:dark){:root{--ink:#e7eaf0;--soft:#98a2b5;--line:#2c3442;--card:#171c25;\
--ground:#0f131a;--good:#3fb96f;--bad:#ff6b6b;--wait:#d9a531}}\
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);\
font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\
main{max-width:68rem;margin:0 auto;padding:2rem 1.25rem 3rem}\
header{display:flex;flex-wrap:wrap;align-items:baseline;gap:.25rem 1rem;margin-bottom:1.5rem}\
h1{font-size:1.45rem;margin:0}h2{font-size:1rem;margin:1.75rem 0 .5rem}\
nav{margin-left:auto;display:flex;gap:1rem}a{color:inherit}.soft{color:var(--soft)}\
.cards{display:grid;grid-template-columns:repeat(4,1fr);gap:.75rem}\
@media(max-width:44rem){.cards{grid-template-columns:repeat(2,1fr)}}\
.card{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.8rem 1rem}\
.card b{display:block;font-size:1.5rem;line-height:1.3;font-variant-numeric:tabular-nums}\
.table{background:var(--card);border:1px solid var(--line);border-radius:.6rem;overflow-x:auto}\
table{border-collapse:collapse;table-layout:fixed;width:100%;min-width:54rem}\
th,td{text-align:left;padding:.5rem 1rem;\
border-bottom:1px solid var(--line);vertical-align:top}tr:last-child td{border-bottom:0}\
th{font-weight:600;font-size:.85rem;color:var(--soft);white-space:nowrap}\
th:nth-child(1){width:31%}th:nth-child(2){width:9%}th:nth-child(3),th:nth-child(4){width:12%}\
td code{display:block;overflow-wrap:anywhere}\
td.num{font-variant-numeric:tabular-nums;white-space:nowrap}\
td.why{overflow-wrap:anywhere}code{font:.9em/1.67 ui-monospace,'DejaVu Sans Mono',monospace}\
.mark{font-weight:600;white-space:nowrap}.mark::before{content:'\\25CF';margin-right:.4em}\
.good{color:var(--good)}.bad{color:var(--bad)}.wait{color:var(--wait)}";

/// The page, of the newest snapshot.
pub(crate) fn render(rounds: &Rounds) -> String {
    let mut page = String::with_capacity(8 << 10);
    let version = env!("CARGO_PKG_VERSION");
    // Writing to a `String` does not fail.
    let _ok = write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"15\"><title>MCP gateway exporter</title>\
         <style>{STYLE}</style></head><body><main><header><h1>MCP gateway exporter</h1>\
         <span class=\"soft\">{version}</span><nav><a href=\"/metrics\">/metrics</a>\
         <a href=\"/health\">/health</a><a href=\"/ready\">/ready</a></nav></header>"
    );
    match rounds.latest() {
        None => page.push_str("<p class=\"wait\">Nobody has been asked yet. Come again soon.</p>"),
        Some(snapshot) => {
            cards(&mut page, &snapshot, rounds);
            replicas(&mut page, &snapshot);
            collectors(&mut page, &snapshot);
            probes(&mut page, rounds);
            footer(&mut page, &snapshot);
        }
    }
    page.push_str("</main></body></html>\n");
    page
}

fn cards(page: &mut String, snapshot: &Snapshot, rounds: &Rounds) {
    let (up, down) = snapshot.count();
    let found = rounds.prober().map(|it| it.found()).unwrap_or_default();
    let well = found.iter().filter(|(_, it)| it.fault.is_none()).count();
    let figure = |name: &str| {
        let all = snapshot.counters.iter().chain(&snapshot.gauges);
        let mut named = all.filter(|it| *it.name == *name);
        let value = named.next().and_then(|it| it.samples.first()).map(|(_, value)| *value);
        value.map_or_else(|| "–".to_owned(), grouped)
    };
    let cards = [
        ("Replicas up", format!("{up} / {}", up + down)),
        ("Probes that succeed", format!("{well} / {}", found.len())),
        ("Requests", figure("mcp_gateway_requests_total")),
        ("Errors", figure("mcp_gateway_errors_total")),
        ("Active connections", figure("mcp_gateway_active_connections")),
        ("Sessions in Redis", figure("mcp_gateway_store_sessions")),
        ("Orphaned sessions", figure("mcp_gateway_store_sessions_orphaned")),
        ("Redis operations / s", figure("mcp_redis_operations_per_second")),
    ];
    page.push_str("<section class=\"cards\">");
    for (name, value) in cards {
        let _ok = write!(page, "<div class=\"card\"><span class=\"soft\">{name}</span>");
        let _ok = write!(page, "<b>{value}</b></div>");
    }
    page.push_str("</section>");
}

fn replicas(page: &mut String, snapshot: &Snapshot) {
    let rows = snapshot.replicas.iter().map(|it| {
        let name = format!("<code>{}</code>", escape(&it.instance));
        let started = Duration::from_millis(it.start_ms);
        let started = (it.start_ms > 0).then_some(SystemTime::UNIX_EPOCH + started);
        let said = match it.is_twin {
            true => "<span class=\"soft\">one of those above, at another address</span>".to_owned(),
            false => why(&it.fault),
        };
        [name, mark(it.fault.is_none()), time(it.took), ago(started), said]
    });
    table(page, "Replicas", ["Address", "State", "Answered in", "Started", "Why not"], rows);
}

fn collectors(page: &mut String, snapshot: &Snapshot) {
    let rows = snapshot.reports.iter().map(|(collector, it)| {
        let place = format!("{} <code>{}</code>", collector.name(), escape(&it.place));
        let state = match it.fault.is_none() {
            true if snapshot.is_waiting && collector.name() == "state" => waiting(),
            well => mark(well),
        };
        [place, state, time(it.took), ago(it.last_success), why(&it.fault)]
    });
    table(page, "Collectors", ["Asked", "State", "Took", "Last success", "Why not"], rows);
}

fn probes(page: &mut String, rounds: &Rounds) {
    let Some(prober) = rounds.prober() else { return };
    let rows = prober.found().into_iter().map(|(probe, it)| {
        let steps = it.phases.iter().map(|(name, took)| format!("{name}\u{a0}{}", time(took)));
        let steps = steps.collect::<Vec<_>>().join(" · ");
        let whole = it.phases.iter().map(|(_, took)| took).sum();
        let last = match &it.fault {
            None => format!("<span class=\"soft\">{steps}</span>"),
            Some(_) => why(&it.fault),
        };
        [probe.name().to_owned(), mark(it.fault.is_none()), time(whole), ago(Some(it.at)), last]
    });
    let title = format!("Probes of {}", escape(&prober.address().to_string()));
    table(page, &title, ["Probe", "State", "Took", "Ended", "Steps, or why not"], rows);
    if let Some(end) = prober.certificate_ends().and_then(|it| u64::try_from(it).ok()) {
        let left = (SystemTime::UNIX_EPOCH + Duration::from_secs(end))
            .duration_since(SystemTime::now())
            .map(|it| it.as_secs() / 86_400);
        let said = match left {
            Ok(days) if days >= 14 => format!("<span class=\"good\">in {days} days</span>"),
            Ok(days) => format!("<span class=\"wait\">in {days} days</span>"),
            Err(_past) => "<span class=\"bad\">it has run out</span>".to_owned(),
        };
        let _ok = write!(page, "<p class=\"soft\">Its certificate runs out: {said}</p>");
    }
}

fn footer(page: &mut String, snapshot: &Snapshot) {
    let waiting = match snapshot.is_waiting {
        true => " Counters are held back until the kept sums can be read.",
        false => "",
    };
    let _ok = write!(
        page,
        "<p class=\"soft\">Asked {} times, the last time {}.{waiting} Reloads every 15 s.</p>",
        grouped(crate::nginx::float(snapshot.rounds)),
        ago(Some(snapshot.time))
    );
}

fn table<const N: usize>(
    page: &mut String,
    title: &str,
    heads: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let _ok = write!(page, "<h2>{title}</h2><div class=\"table\"><table><thead><tr>");
    for head in heads {
        let _ok = write!(page, "<th>{head}</th>");
    }
    page.push_str("</tr></thead><tbody>");
    for row in rows {
        page.push_str("<tr>");
        for (place, cell) in row.into_iter().enumerate() {
            let class = match place {
                2 | 3 => " class=\"num\"",
                4 => " class=\"why\"",
                _ => "",
            };
            let _ok = write!(page, "<td{class}>{cell}</td>");
        }
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table></div>");
}

fn mark(is_well: bool) -> String {
    let (class, word) = if is_well { ("good", "up") } else { ("bad", "down") };
    format!("<span class=\"mark {class}\">{word}</span>")
}

fn waiting() -> String {
    "<span class=\"mark wait\">waiting</span>".to_owned()
}

fn why(fault: &Option<String>) -> String {
    let said = fault.as_deref().map(escape);
    said.map_or_else(String::new, |it| format!("<span class=\"bad\">{it}</span>"))
}

fn time(took: Duration) -> String {
    let millis = took.as_secs_f64() * 1_000.0;
    if millis < 10.0 {
        format!("{millis:.1}\u{a0}ms")
    } else if millis < 1_000.0 {
        format!("{millis:.0}\u{a0}ms")
    } else {
        format!("{:.1}\u{a0}s", millis / 1_000.0)
    }
}

fn ago(at: Option<SystemTime>) -> String {
    let Some(at) = at else { return "never".to_owned() };
    let seconds = SystemTime::now().duration_since(at).unwrap_or_default().as_secs();
    match seconds {
        0 => "just now".to_owned(),
        1..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// A whole number with thin spaces between groups of three digits.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push('\u{2009}');
        }
        shown.push(digit);
    }
    shown
}

fn escape(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    escaped.replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_text_on_the_page() {
        let shown = why(&Some("<script>alert('x')</script>".to_owned()));
        assert!(!shown.contains("<script>"), "{shown}");
    }

    #[test]
    fn numbers_and_times_are_for_people() {
        assert_eq!(grouped(1_234_567.0), "1\u{2009}234\u{2009}567");
        assert_eq!(grouped(12.0), "12");
        assert_eq!(time(Duration::from_micros(1_540)), "1.5\u{a0}ms");
        assert_eq!(time(Duration::from_millis(2_500)), "2.5\u{a0}s");
        assert_eq!(ago(None), "never");
    }
}
