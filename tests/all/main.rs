//! Every integration test, in one program.

mod audit;
mod cells;
mod crossing;
mod durable;
mod generated;
mod governance;
mod governors;
mod hints;
mod intake;
mod keys;
mod linking;
mod over_http;
mod personas;
mod proof;
mod published;
mod refused;
mod rights;
mod runs;
mod steward;
mod stored;
mod terminal;
