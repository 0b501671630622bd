//! The stand-in assistant: an OpenAI-like backend for the demo, the tests and load tests.
