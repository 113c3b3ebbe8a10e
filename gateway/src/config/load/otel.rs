//! The variables of OpenTelemetry ("Environment Variable Specification", "OTLP Exporter
//! Configuration") that say where spans go.

use super::super::check;
use super::super::tracing::{Sampling, ratio};
use super::super::{Config, Fault};
use super::environment::Layer;

pub(super) fn apply(config: &mut Config, layer: &mut Layer<'_>) {
    endpoint(config, layer);
    headers(config, layer);
    attributes(config, layer);
    sampling(config, layer);
}

fn endpoint(config: &mut Config, layer: &mut Layer<'_>) {
    let own = layer.read(&["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]).map(|it| (it, true));
    let general = || layer.read(&["OTEL_EXPORTER_OTLP_ENDPOINT"]).map(|it| (it, false));
    if let Some(((place, text), is_whole)) = own.or_else(general) {
        let text = text.trim();
        let read = check::collector(text);
        // That of traces alone is used as it is.
        match read.map(|url| if is_whole { text.to_owned() } else { url }) {
            Ok(url) => layer.apply(config, ("tracing.endpoint", place), |config| {
                config.tracing.endpoint = Some(url);
            }),
            Err(fault) => layer.faults.push(Fault::new(place, fault)),
        }
    }
    let off = |(_, text): (_, String)| text.trim().eq_ignore_ascii_case("true");
    let none = |(_, text): (_, String)| text.trim().eq_ignore_ascii_case("none");
    if layer.read(&["OTEL_SDK_DISABLED"]).is_some_and(off)
        || layer.read(&["OTEL_TRACES_EXPORTER"]).is_some_and(none)
    {
        config.tracing.endpoint = None;
    }
}

fn headers(config: &mut Config, layer: &mut Layer<'_>) {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
    let Some((place, text)) = layer.read(&names) else { return };
    for (name, value) in pairs(&text) {
        match check::header(&name, &value) {
            Ok((name, value)) => {
                let path = format!("tracing.headers.{name}");
                layer.apply(config, (&path, place.clone()), |config| {
                    config.tracing.headers.insert(name, value);
                });
            }
            Err(fault) => layer.faults.push(Fault::new(place.clone(), fault)),
        }
    }
}

fn attributes(config: &mut Config, layer: &mut Layer<'_>) {
    if let Some((place, text)) = layer.read(&["OTEL_RESOURCE_ATTRIBUTES"]) {
        for (name, value) in pairs(&text) {
            let path = format!("tracing.attributes.{name}");
            layer.apply(config, (&path, place.clone()), |config| {
                if name == "service.name" {
                    config.tracing.service_name = value;
                } else {
                    config.tracing.attributes.insert(name, value);
                }
            });
        }
    }
    if let Some((place, text)) = layer.read(&["OTEL_SERVICE_NAME"]) {
        layer.apply(config, ("tracing.service_name", place), |config| {
            config.tracing.service_name = text;
        });
    }
}

fn sampling(config: &mut Config, layer: &mut Layer<'_>) {
    if let Some((place, text)) = layer.read(&["OTEL_TRACES_SAMPLER"]) {
        match Sampling::of(&text.trim().to_ascii_lowercase()) {
            Some(sampler) => layer.apply(config, ("tracing.sampler", place), |config| {
                config.tracing.sampler = sampler;
            }),
            None => {
                let all = Sampling::WORDS.map(|(name, _)| name).join(", ");
                layer.faults.push(Fault::new(place, format!("must be one of {all}")));
            }
        }
    }
    if let Some((place, text)) = layer.read(&["OTEL_TRACES_SAMPLER_ARG"]) {
        match ratio(&text) {
            Some(ratio) => layer.apply(config, ("tracing.sample_ratio", place), |config| {
                config.tracing.ratio = ratio;
            }),
            None => layer.faults.push(Fault::new(place, "must be a number from 0 to 1")),
        }
    }
}

/// A list as in `key=value,key=value`, its values percent-encoded (W3C Baggage §3.3).
fn pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.trim().to_owned(), decoded(value.trim()))).collect()
}

/// A text with its percent-encoded bytes as they are; one that is none stays as it is.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut plain = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let code = part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok());
        let (Some(code), Some(rest)) = (code, part.get(2..)) else { return text.to_owned() };
        plain.push(code);
        plain.extend(rest.as_bytes());
    }
    String::from_utf8(plain).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::super::Secret;
    use super::super::environment::Layer;
    use super::*;

    fn read(vars: &[(&str, &str)]) -> (Config, Vec<String>) {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let vars: BTreeMap<String, String> = vars.collect();
        let mut config = Config::default();
        let mut layer = Layer::new(&vars);
        apply(&mut config, &mut layer);
        (config, layer.faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_variables_of_opentelemetry_are_read() {
        let (config, faults) = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20hidden, x-tenant = a%3Db"),
            ("OTEL_SERVICE_NAME", "edge"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=other"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ]);
        assert_eq!(faults, [""; 0]);
        let tracing = &config.tracing;
        assert_eq!(tracing.endpoint.as_deref(), Some("http://collector:4318/v1/traces"));
        let header = |name: &str| tracing.headers.get(name).map(Secret::expose);
        assert_eq!(header("authorization"), Some("Bearer hidden"));
        assert_eq!(header("x-tenant"), Some("a=b"));
        assert_eq!(tracing.service_name, "edge");
        let environment = tracing.attributes.get("deployment.environment.name");
        assert_eq!(environment.map(String::as_str), Some("test"));
        assert_eq!((tracing.sampler, tracing.ratio), (Sampling::ParentRatio, 0.25));
        assert!(!format!("{config:?}").contains("hidden"));
    }

    #[test]
    fn the_endpoint_of_traces_is_used_as_it_is() {
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c.example/custom");
        let (config, _) = read(&[own, ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://other:4318")]);
        assert_eq!(config.tracing.endpoint.as_deref(), Some("https://c.example/custom"));
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(read(&[own, off]).0.tracing.endpoint, None);
        }
    }

    #[test]
    fn what_cannot_be_used_is_a_fault() {
        let (_, faults) = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=hidden"),
        ]);
        assert_eq!(faults.len(), 4, "{faults:?}");
        assert!(!faults.concat().contains("hidden"), "{faults:?}");
    }
}
