//! Where spans go, and which requests have any.

use std::collections::BTreeMap;

use super::Secret;

/// What is traced. Nothing, unless there is an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct TracingConfig {
    /// Where the collector takes OTLP over HTTP, with its path, as in
    /// `http://otel-collector:4318/v1/traces`; `None` for no tracing. `tracing.endpoint`,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: Option<String>,
    /// Headers for the collector, names in lower case. `tracing.headers`,
    /// `OTEL_EXPORTER_OTLP_HEADERS`.
    pub headers: BTreeMap<String, Secret>,
    /// What the gateway is called in traces. Default `mcp-gateway`. `tracing.service_name`,
    /// `OTEL_SERVICE_NAME`.
    pub service_name: String,
    /// What else is said of it, such as `deployment.environment.name`. `tracing.attributes`,
    /// `OTEL_RESOURCE_ATTRIBUTES`.
    pub attributes: BTreeMap<String, String>,
    /// Which requests are recorded. `tracing.sampler`, `OTEL_TRACES_SAMPLER`.
    pub sampler: Sampling,
    /// The share of traces that a sampler by ratio records, from 0 to 1. Default 1.
    /// `tracing.sample_ratio`, `OTEL_TRACES_SAMPLER_ARG`.
    pub ratio: f64,
}

/// Which requests are recorded (OpenTelemetry, "Environment Variable Specification").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sampling {
    /// All.
    AlwaysOn,
    /// None.
    AlwaysOff,
    /// A share of them.
    Ratio,
    /// Those whose caller records them, and all whose caller says nothing.
    #[default]
    ParentAlwaysOn,
    /// Those whose caller records them.
    ParentAlwaysOff,
    /// Those whose caller records them, and a share of those whose caller says nothing.
    ParentRatio,
}

impl Sampling {
    /// Every sampler, under the name that OpenTelemetry gives it.
    pub(super) const WORDS: [(&str, Self); 6] = [
        ("always_on", Self::AlwaysOn),
        ("always_off", Self::AlwaysOff),
        ("traceidratio", Self::Ratio),
        ("parentbased_always_on", Self::ParentAlwaysOn),
        ("parentbased_always_off", Self::ParentAlwaysOff),
        ("parentbased_traceidratio", Self::ParentRatio),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::WORDS.into_iter().find(|(_, it)| *it == self).map_or("", |(name, _)| name)
    }

    /// The sampler of this name.
    pub(super) fn of(name: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(it, _)| *it == name).map(|(_, it)| it)
    }
}

impl Default for TracingConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: BTreeMap::new(),
            service_name: "mcp-gateway".to_owned(),
            attributes: BTreeMap::new(),
            sampler: Sampling::default(),
            ratio: 1.0,
        }
    }
}

/// Reads a share.
pub(super) fn ratio(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|it| (0.0..=1.0).contains(it))
}
