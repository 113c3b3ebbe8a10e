//! The section `tracing`: where spans go.

use http::{HeaderName, HeaderValue};

use super::super::Secret;
use super::super::tracing::{Sampling, TracingConfig, ratio};
use super::super::tree::{Entry, Value};
use super::form::Form;
use super::section::Section;
use super::url;
use super::values::scalar;

pub(super) fn check(mut section: Section<'_, '_>, tracing: &mut TracingConfig) {
    let report = section.report;
    if let Some(given) = section.text("endpoint", &[]) {
        match url::collector(&given.text) {
            Ok(url) => tracing.endpoint = Some(url),
            Err(fault) => report.fault(given.entry.node.at, format!("`endpoint`: {fault}")),
        }
    }
    if let Some(entry) = section.take("headers", &[], Form::Map) {
        for (name, value, at) in members(&section, entry) {
            match header(&name, &value) {
                Ok((name, value)) => drop(tracing.headers.insert(name, value)),
                Err(fault) => report.fault(at, fault),
            }
        }
    }
    if let Some(given) = section.text("service_name", &[]) {
        tracing.service_name = given.text;
    }
    if let Some(entry) = section.take("attributes", &[], Form::Map) {
        let all = members(&section, entry).into_iter();
        tracing.attributes.extend(all.map(|(name, value, _)| (name, value)));
    }
    if let Some((sampler, _)) = section.choice("sampler", &[], &Sampling::WORDS) {
        tracing.sampler = sampler;
    }
    if let Some(given) = section.text("sample_ratio", &["ratio"]) {
        match ratio(&given.text) {
            Some(ratio) => tracing.ratio = ratio,
            None => section.refuse(given.entry, "a number from 0 to 1"),
        }
    }
    section.finish(&[], "");
}

/// The members of a map, with their places.
fn members(section: &Section<'_, '_>, entry: &Entry) -> Vec<(String, String, super::At)> {
    let Value::Map(members) = &entry.node.value else {
        section.refuse(entry, "a map from name to value");
        return Vec::new();
    };
    let one = |member: &Entry| {
        let value = scalar(section.report, &member.node, &member.key)?;
        let path = section.path(&format!("{}.{}", entry.key, member.key));
        section.report.note(&path, member.at);
        Some((member.key.clone(), value, member.at))
    };
    members.iter().filter_map(one).collect()
}

/// A header for the collector. The fault does not repeat the value, which is a secret.
pub(in crate::config) fn header(name: &str, value: &str) -> Result<(String, Secret), String> {
    let name = name.trim().to_ascii_lowercase();
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(format!("{name:?} is not the name of an HTTP header"));
    }
    if HeaderValue::from_str(value).is_err() {
        return Err(format!("the value of `{name}` cannot be that of an HTTP header"));
    }
    Ok((name, Secret::new(value)))
}
