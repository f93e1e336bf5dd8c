//! What the variables of OpenTelemetry ask for.

use std::time::Duration;

use crate::error::{Error, Result};

/// The variables that name the collector, the first that is set counts.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
/// The time for an export if the environment has none.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the export of spans needs beside the variables that OpenTelemetry's SDK reads itself.
#[derive(Debug, PartialEq)]
pub(super) struct Environment {
    /// The variable that names the collector.
    pub(super) variable: &'static str,
    pub(super) is_encrypted: bool,
    pub(super) timeout: Duration,
    pub(super) names_service: bool,
}

impl Environment {
    /// Reads the variables; `None` if they ask for no export.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let refuse = |name: &str, reason: &str| {
            Err(Error::Config {
                key: name.to_owned(),
                reason: reason.to_owned(),
                source: None,
            })
        };
        let is_disabled = variable("OTEL_SDK_DISABLED");
        if is_disabled.is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let found = ENDPOINTS
            .into_iter()
            .find_map(|name| variable(name).map(|value| (name, value)));
        let Some((name, endpoint)) = found else {
            return Ok(None);
        };
        match variable("OTEL_TRACES_EXPORTER").as_deref().map(str::trim) {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(_) => return refuse("OTEL_TRACES_EXPORTER", "it must be `otlp` or `none`"),
        }
        for name in [
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
        ] {
            if variable(name).is_some_and(|protocol| protocol.trim() != "http/protobuf") {
                let reason =
                    "the only protocol is `http/protobuf`, which collectors have at port 4318";
                return refuse(name, reason);
            }
        }
        let scheme = endpoint.trim().split_once("://").map(|(scheme, _)| scheme);
        let is_encrypted = match scheme {
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
            _ => {
                let reason = "it must be a URL such as http://localhost:4318";
                return refuse(name, reason);
            }
        };
        let mut timeout = TIMEOUT;
        for name in [
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
            "OTEL_EXPORTER_OTLP_TIMEOUT",
        ] {
            if let Some(value) = variable(name) {
                match value.trim().parse() {
                    Ok(milliseconds @ 1..) => timeout = Duration::from_millis(milliseconds),
                    _ => return refuse(name, "it must be a number of milliseconds"),
                }
                break;
            }
        }
        let attributes = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let mut attributes = attributes.split(',').filter_map(|one| one.split_once('='));
        let names_service = variable("OTEL_SERVICE_NAME").is_some()
            || attributes.any(|(name, _)| name.trim() == "service.name");
        Ok(Some(Self {
            variable: name,
            is_encrypted,
            timeout,
            names_service,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Environment>> {
        Environment::read(|name| {
            let found = variables.iter().find(|(one, _)| *one == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const HERE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");

    #[test]
    fn without_a_collector_nothing_is_exported() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap(), None);
        for (name, value) in [
            ("OTEL_SDK_DISABLED", "TRUE"),
            ("OTEL_TRACES_EXPORTER", "none"),
        ] {
            assert_eq!(read(&[HERE, (name, value)]).unwrap(), None);
        }
    }

    #[test]
    fn the_variable_of_traces_comes_before_the_one_of_all_signals() {
        let found = read(&[HERE, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://a/x")]);
        let found = found.unwrap().unwrap();
        assert!(found.is_encrypted && !found.names_service);
        assert_eq!(found.timeout, TIMEOUT);
        let found = read(&[
            HERE,
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name=mine"),
        ]);
        let found = found.unwrap().unwrap();
        assert!(!found.is_encrypted && found.names_service);
        assert_eq!(found.timeout, Duration::from_millis(1_500));
    }

    #[test]
    fn what_is_not_there_is_refused_without_its_value() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "secret@localhost:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://secret"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc secret"),
            ("OTEL_TRACES_EXPORTER", "zipkin secret"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "10s secret"),
        ] {
            let error = read(&[(name, value), HERE]).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("secret"), "{error}");
        }
    }
}
