//! Every integration test, in one program.

mod audit;
mod crossing;
mod generated;
mod governance;
mod intake;
mod keys;
mod over_http;
mod personas;
mod refused;
mod runs;
mod steward;
mod stored;
mod terminal;
