//! Every integration test, in one program.

mod audit;
mod crossing;
mod durable;
mod generated;
mod governance;
mod governors;
mod intake;
mod keys;
mod linking;
mod over_http;
mod personas;
mod proof;
mod refused;
mod rights;
mod runs;
mod steward;
mod stored;
mod terminal;
