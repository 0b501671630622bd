//! The operator's side: an own listener and runtime, so that `/readyz` and `/metrics` answer also
//! when the way of requests is busy. It reads snapshots and never reaches into the gateway.
