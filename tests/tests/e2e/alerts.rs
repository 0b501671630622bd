//! Alerts: the tiers, who is told, and the same in Prometheus.

mod admin;
mod agreement;
mod alertmanager;
mod notifiers;
mod replicas;
mod run;
