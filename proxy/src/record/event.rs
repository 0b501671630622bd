//! One structured event a request (shared with what reads it: contract/event.json).
