//! `cache.unless`: requests that the cache is not used for although their responses depend on nothing else. They are
//! neither looked up nor stored.
//!
//! A sampling temperature is looked for where the providers have it: at the top level, and in the object of sampling
//! parameters of Gemini, Bedrock, Ollama and DashScope. A request that names none counts as one with a temperature of
//! 1, the default of most providers, unless its operation has no temperature (embeddings, reranking).

use crate::exchange::BypassReason;
use crate::model::json::{Interest, JsonPosition, JsonValue, Visitor};
use crate::model::operation::{Operation, OperationOutput};

/// The temperature of a request that names none.
const DEFAULT_TEMPERATURE: f64 = 1.0;

/// The checked `cache.unless` block.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Unless {
    /// Requests whose temperature is above it.
    pub temperature_above: Option<f64>,
    pub tools: ToolCalls,
}

/// Whether requests with tools use the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolCalls {
    #[default]
    Cached,
    Bypass,
}

impl Unless {
    pub(super) fn is_empty(&self) -> bool {
        *self == Unless::default()
    }
}

/// The visitor that looks for what `unless` names while the body is parsed.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnlessVisitor {
    unless: Unless,
    /// The highest temperature of the request; infinite if it is no number.
    temperature: Option<f64>,
    default_temperature: Option<f64>,
    has_tools: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnlessPosition {
    Root,
    /// An object of parameters.
    Parameters,
    Temperature,
    Tools,
    Ignored,
}

impl JsonPosition for UnlessPosition {
    const ROOT: Self = UnlessPosition::Root;
    const IGNORED: Self = UnlessPosition::Ignored;

    fn interest(self) -> Interest {
        match self {
            UnlessPosition::Temperature | UnlessPosition::Tools => Interest::Short,
            _ => Interest::Nothing,
        }
    }
}

impl UnlessVisitor {
    pub(super) fn new(unless: Unless, operation: Option<Operation>) -> Self {
        let samples = operation.is_none_or(|known| known.output() == OperationOutput::Text);
        UnlessVisitor {
            unless,
            temperature: None,
            default_temperature: samples.then_some(DEFAULT_TEMPERATURE),
            has_tools: false,
        }
    }

    /// Why the cache is not used.
    pub(super) fn bypass(&self) -> Option<BypassReason> {
        if self.has_tools && self.unless.tools == ToolCalls::Bypass {
            return Some(BypassReason::Tools);
        }
        let temperature = self.temperature.or(self.default_temperature)?;
        let is_above = temperature > self.unless.temperature_above?;
        is_above.then_some(BypassReason::Temperature)
    }

    fn add_temperature(&mut self, temperature: f64) {
        let known = self.temperature.unwrap_or(temperature);
        self.temperature = Some(known.max(temperature));
    }
}

impl Visitor for UnlessVisitor {
    type Position = UnlessPosition;

    fn member(&mut self, of: UnlessPosition, name: &[u8]) -> UnlessPosition {
        match (of, name) {
            (UnlessPosition::Root | UnlessPosition::Parameters, b"temperature") => {
                UnlessPosition::Temperature
            }
            (UnlessPosition::Root, b"tools" | b"functions" | b"mcp_servers")
            | (UnlessPosition::Parameters, b"tools") => UnlessPosition::Tools,
            (
                UnlessPosition::Root,
                b"generationConfig" | b"generation_config" | b"inferenceConfig" | b"options"
                | b"parameters" | b"toolConfig",
            ) => UnlessPosition::Parameters,
            (UnlessPosition::Tools, _) => {
                self.has_tools = true;
                UnlessPosition::Ignored
            }
            (UnlessPosition::Temperature, _) => {
                self.add_temperature(f64::INFINITY);
                UnlessPosition::Ignored
            }
            _ => UnlessPosition::Ignored,
        }
    }

    fn element(&mut self, of: UnlessPosition) -> UnlessPosition {
        // An element of an array counts as a member of an object does.
        match of {
            UnlessPosition::Tools | UnlessPosition::Temperature => self.member(of, b""),
            _ => UnlessPosition::Ignored,
        }
    }

    fn value(&mut self, at: UnlessPosition, value: JsonValue<'_>) {
        match (at, value) {
            (_, JsonValue::Null) => {}
            (UnlessPosition::Tools, JsonValue::False | JsonValue::String(b"")) => {}
            (UnlessPosition::Tools, _) => self.has_tools = true,
            (UnlessPosition::Temperature, JsonValue::Number(text)) => {
                let number = std::str::from_utf8(text).ok();
                let number = number.and_then(|text| text.parse().ok());
                self.add_temperature(number.unwrap_or(f64::INFINITY));
            }
            (UnlessPosition::Temperature, _) => self.add_temperature(f64::INFINITY),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::json::JsonScanner;

    fn bypass(unless: Unless, operation: Option<Operation>, body: &str) -> Option<BypassReason> {
        let mut visitor = UnlessVisitor::new(unless, operation);
        JsonScanner::new().feed(body.as_bytes(), &mut visitor);
        visitor.bypass()
    }

    #[test]
    fn a_temperature_above_the_bound_bypasses_the_cache() {
        for (body, temperature) in [
            (r#"{"temperature":0}"#, 0.0),
            (r#"{"temperature":-0.0}"#, 0.0),
            (r#"{"temperature":0.0e5}"#, 0.0),
            (r#"{"temperature":0.2}"#, 0.2),
            (r#"{"temperature":2e-1}"#, 0.2),
            (r#"{}"#, 1.0),
            (r#"{"temperature":null}"#, 1.0),
            (r#"{"messages":[{"temperature":0}]}"#, 1.0),
            (r#"{"temperature":"0"}"#, f64::INFINITY),
            (r#"{"temperature":false}"#, f64::INFINITY),
            (r#"{"temperature":[0]}"#, f64::INFINITY),
            (r#"{"temperature":{"x":0}}"#, f64::INFINITY),
            (r#"{"temperature":1e999}"#, f64::INFINITY),
            (r#"{"generationConfig":{"temperature":0.2}}"#, 0.2),
            (r#"{"generation_config":{"temperature":0.2}}"#, 0.2),
            (r#"{"inferenceConfig":{"temperature":0.2}}"#, 0.2),
            (r#"{"options":{"temperature":0.2}}"#, 0.2),
            (r#"{"parameters":{"temperature":0.2}}"#, 0.2),
            (r#"{"temperature":0,"options":{"temperature":0.2}}"#, 0.2),
            (r#"{"options":{"temperature":0.2},"temperature":0}"#, 0.2),
        ] {
            for above in [0.0, 0.1, 0.2, 0.9, 1.0, 2.0] {
                let unless = Unless {
                    temperature_above: Some(above),
                    ..Unless::default()
                };
                let expected = (temperature > above).then_some(BypassReason::Temperature);
                for operation in [
                    None,
                    Some(Operation::Chat),
                    Some(Operation::GenerateContent),
                ] {
                    let found = bypass(unless, operation, body);
                    assert_eq!(found, expected, "{body} {operation:?} above {above}");
                }
            }
            assert_eq!(bypass(Unless::default(), None, body), None, "{body}");
        }
        let unless = Unless {
            temperature_above: Some(0.0),
            ..Unless::default()
        };
        for operation in [
            Operation::Embeddings,
            Operation::Rerank,
            Operation::CountTokens,
        ] {
            assert_eq!(bypass(unless, Some(operation), "{}"), None, "{operation:?}");
        }
    }

    #[test]
    fn tools_bypass_the_cache() {
        let unless = Unless {
            tools: ToolCalls::Bypass,
            ..Unless::default()
        };
        for (body, has_tools) in [
            (r#"{"tools":[{"type":"function"}]}"#, true),
            (r#"{"t\u006fols":["a"]}"#, true),
            (r#"{"functions":[{"name":"f"}]}"#, true),
            (r#"{"mcp_servers":[{"url":"u"}]}"#, true),
            (r#"{"tools":{"a":1}}"#, true),
            (r#"{"tools":"auto"}"#, true),
            (r#"{"tools":[[]]}"#, true),
            (r#"{"tools":[null]}"#, true),
            (r#"{"toolConfig":{"tools":[{"toolSpec":{}}]}}"#, true),
            (r#"{"parameters":{"tools":[{}]}}"#, true),
            (r#"{"tools":[]}"#, false),
            (r#"{"tools":{}}"#, false),
            (r#"{"tools":null}"#, false),
            (r#"{"tools":false,"functions":""}"#, false),
            (r#"{"toolConfig":{"functionCallingConfig":{}}}"#, false),
            (
                r#"{"messages":[{"tools":[1]}],"tool_choice":"auto"}"#,
                false,
            ),
        ] {
            let expected = has_tools.then_some(BypassReason::Tools);
            assert_eq!(bypass(unless, None, body), expected, "{body}");
            assert_eq!(bypass(Unless::default(), None, body), None, "{body}");
        }
    }
}
