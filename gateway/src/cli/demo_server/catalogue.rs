//! What the demo server has besides tools: resources, prompts, and completion for both.

use wire::json;

use super::tools;

/// The resource that changes as time goes by.
pub(super) const CLOCK: &str = "demo://clock";
const GREETING: &str = "demo://greeting";
const GREETING_OF: &str = "demo://greeting/";
const GREETING_TEMPLATE: &str = "demo://greeting/{name}";

const NAMES: [&str; 6] = ["Ada", "Alan", "Barbara", "Edsger", "Grace", "Margaret"];
const TOPICS: [&str; 6] = ["gateways", "mountains", "rain", "rivers", "streams", "winter"];

/// The result of `resources/list`.
pub(super) const RESOURCES: &str = r#"{"resources":[
{"uri":"demo://greeting","name":"greeting","title":"Greeting",
 "description":"A word of welcome.","mimeType":"text/plain"},
{"uri":"demo://clock","name":"clock","title":"Clock",
 "description":"The time in UTC; subscribe to hear of every tick.","mimeType":"text/plain"}
]}"#;

/// The result of `resources/templates/list`.
pub(super) const TEMPLATES: &str = r#"{"resourceTemplates":[
{"uriTemplate":"demo://greeting/{name}","name":"greeting-of","title":"Greeting by name",
 "description":"A word of welcome to somebody.","mimeType":"text/plain"}
]}"#;

/// The result of `prompts/list`.
pub(super) const PROMPTS: &str = r#"{"prompts":[
{"name":"haiku","title":"Haiku","description":"Asks for a haiku.","arguments":[
 {"name":"topic","description":"What it is about.","required":true}]}
]}"#;

/// The result of `resources/read`; `None` if there is no such resource.
pub(super) fn read(uri: &str) -> Option<String> {
    let text = match uri {
        GREETING => "Welcome. This is the demo server of the gateway.".to_owned(),
        CLOCK => tools::time(),
        _ => format!("Welcome, {}.", name_of(uri)?),
    };
    let (uri, text) = (json::quote(uri), json::quote(&text));
    Some(format!(r#"{{"contents":[{{"uri":{uri},"mimeType":"text/plain","text":{text}}}]}}"#))
}

/// The result of `prompts/get`, or what is wrong with the question.
pub(super) fn prompt(name: &str, topic: Option<&str>) -> Result<String, String> {
    if name != "haiku" {
        return Err(format!("There is no prompt `{name}`; `prompts/list` names them."));
    }
    let Some(topic) = topic else {
        return Err("The prompt `haiku` needs the argument `topic`, a string.".to_owned());
    };
    let text = json::quote(&format!("Write a haiku about {topic}. Three lines, no title."));
    Ok(format!(
        r#"{{"description":"Asks for a haiku.","messages":[
        {{"role":"user","content":{{"type":"text","text":{text}}}}}]}}"#
    ))
}

/// The result of `completion/complete`, or what is wrong with the question.
pub(super) fn complete(params: &str) -> Result<String, String> {
    let word = |keys: &[&str]| json::path(params, keys).and_then(json::string);
    let (Some(kind), Some(argument), Some(start)) =
        (word(&["ref", "type"]), word(&["argument", "name"]), word(&["argument", "value"]))
    else {
        return Err("`ref.type`, `argument.name` and `argument.value` must be strings.".to_owned());
    };
    let (prompt, template) = (word(&["ref", "name"]), word(&["ref", "uri"]));
    let known: &[&str] = match (&*kind, prompt.as_deref(), template.as_deref()) {
        ("ref/prompt", Some("haiku"), _) if argument == "topic" => &TOPICS,
        ("ref/resource", _, Some(GREETING_TEMPLATE)) if argument == "name" => &NAMES,
        ("ref/prompt", Some("haiku"), _) | ("ref/resource", _, Some(GREETING_TEMPLATE)) => &[],
        (_, _, _) => return Err("There is nothing of this name to complete.".to_owned()),
    };
    let start = start.to_lowercase();
    let fitting: Vec<String> = known
        .iter()
        .filter(|word| word.to_lowercase().starts_with(&start))
        .map(|word| json::quote(word))
        .collect();
    let (total, values) = (fitting.len(), fitting.join(","));
    Ok(format!(r#"{{"completion":{{"values":[{values}],"total":{total},"hasMore":false}}}}"#))
}

/// The name in a URI of the template, percent-decoded; `None` if it is not one.
fn name_of(uri: &str) -> Option<String> {
    let encoded = uri.strip_prefix(GREETING_OF).filter(|name| !name.is_empty())?;
    if encoded.contains('/') {
        return None;
    }
    let mut bytes = Vec::new();
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sound_json() {
        for (list, key) in
            [(RESOURCES, "resources"), (TEMPLATES, "resourceTemplates"), (PROMPTS, "prompts")]
        {
            json::check(list, &json::JsonLimits::default()).unwrap();
            assert!(json::elements(json::member(list, key).unwrap()).count() > 0);
        }
    }

    #[test]
    fn greets_by_the_name_in_the_uri() {
        assert!(read("demo://greeting/Zo%C3%AB").unwrap().contains("Welcome, Zoë."));
        for uri in ["demo://greeting/", "demo://greeting/%zz", "demo://greeting/%C3", "demo://a/b"]
        {
            assert_eq!(read(uri), None, "{uri}");
        }
    }

    #[test]
    fn completes_the_topic_and_the_name() {
        let ask = |reference: &str, argument: &str, value: &str| {
            complete(&format!(
                r#"{{"ref":{reference},"argument":{{"name":"{argument}","value":"{value}"}}}}"#
            ))
        };
        let haiku = r#"{"type":"ref/prompt","name":"haiku"}"#;
        let greeting = r#"{"type":"ref/resource","uri":"demo://greeting/{name}"}"#;
        assert!(ask(haiku, "topic", "r").unwrap().contains(r#"["rain","rivers"],"total":2"#));
        assert!(ask(greeting, "name", "a").unwrap().contains(r#"["Ada","Alan"]"#));
        assert!(ask(haiku, "other", "").unwrap().contains(r#""values":[]"#));
        assert!(ask(r#"{"type":"ref/prompt","name":"sonnet"}"#, "topic", "").is_err());
        assert!(complete("{}").is_err());
    }
}
