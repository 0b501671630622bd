//! Alerts: the tiers, who is told, and the same in Prometheus.

mod admin;
mod agreement;
mod alertmanager;
mod disk;
mod full_run;
mod notifiers;
mod replicas;
