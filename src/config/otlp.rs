//! Whether traces are exported. The variables are those of OpenTelemetry, which every exporter
//! reads; its library reads the others (endpoint, headers, sampler, batches) itself.

use std::{env, time::Duration};

/// What an exporter waits for an answer when nothing is said.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How traces are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtlpConfig {
    /// How long one request to the collector may take (`OTEL_EXPORTER_OTLP_TIMEOUT`, in
    /// milliseconds). Default 10000.
    pub timeout: Duration,
}

impl OtlpConfig {
    /// What the environment says; none when traces are not exported: there is no
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, or `OTEL_SDK_DISABLED` or `OTEL_TRACES_EXPORTER` say so.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        Self::from_variables(|name| env::var_os(name)?.into_string().ok())
    }

    /// As [`from_environment`](Self::from_environment), of other variables. An empty variable
    /// counts as not set, as it does in OpenTelemetry.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let get = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        // What is said about traces goes over what is said about all signals.
        let get_either = |name: &str| {
            get(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
                .or_else(|| get(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        let says = |name: &str, word: &str| {
            get(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(word))
        };
        get_either("ENDPOINT")?;
        if says("OTEL_SDK_DISABLED", "true") || says("OTEL_TRACES_EXPORTER", "none") {
            return None;
        }
        let timeout = get_either("TIMEOUT").and_then(|text| text.trim().parse().ok());
        Some(Self {
            timeout: timeout.map_or(DEFAULT_TIMEOUT, Duration::from_millis),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(variables: &[(&str, &str)]) -> Option<u128> {
        let find = |name: &str| variables.iter().find(|(given, _)| *given == name);
        let otlp = OtlpConfig::from_variables(|name| Some(find(name)?.1.to_owned()));
        otlp.map(|otlp| otlp.timeout.as_millis())
    }

    #[test]
    fn traces_are_exported_where_there_is_a_collector() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let traces = (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://collector:4318/t",
        );
        assert_eq!(timeout(&[]), None);
        assert_eq!(timeout(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), None);
        assert_eq!(timeout(&[all]), Some(10_000));
        assert_eq!(timeout(&[traces]), Some(10_000));
        for off in [
            ("OTEL_SDK_DISABLED", "True"),
            ("OTEL_TRACES_EXPORTER", "none"),
        ] {
            assert_eq!(timeout(&[all, off]), None);
        }
        for on in [
            ("OTEL_SDK_DISABLED", "false"),
            ("OTEL_TRACES_EXPORTER", "otlp"),
        ] {
            assert!(timeout(&[all, on]).is_some());
        }
    }

    #[test]
    fn the_timeout_of_traces_goes_first() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let all = ("OTEL_EXPORTER_OTLP_TIMEOUT", "700");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "300");
        assert_eq!(timeout(&[endpoint, all]), Some(700));
        assert_eq!(timeout(&[endpoint, all, traces]), Some(300));
        let nonsense = ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon");
        assert_eq!(timeout(&[endpoint, nonsense]), Some(10_000));
    }
}
