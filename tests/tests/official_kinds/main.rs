//! The official kinds, `http`, `http_async`, `http_sse`, `manual` and `container`, and the recipes, against real servers.

mod container;
mod http_extremes;
mod long_event_streams;
mod official_http;
mod official_http_async;
mod official_http_sse;
mod official_manual;
mod recipes;
mod tls;
