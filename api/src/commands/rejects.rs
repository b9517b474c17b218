//! The rejected rows of an import as CSV, to be mended and imported again.

use entity::Session;
use entity::import::reject;
use uuid::Uuid;

use crate::intake::{REPORT_COLUMNS, defused};

/// The rejected rows in the source's columns, with reason, detail and suggestion, window by window. Cells are as clear as the
/// caller may see them, and defused for spreadsheets.
pub struct Rejects {
    import: Uuid,
    /// How many columns the source has.
    columns: usize,
    /// The last row that was written.
    behind: i32,
}

impl Rejects {
    /// Begins with the header.
    ///
    /// # Errors
    /// [`entity::Error::Denied`] to whom may not read import reports; [`entity::Error::NotFound`].
    pub async fn begin(session: &Session, import: Uuid) -> Result<(Self, Vec<u8>), entity::Error> {
        let mut header = reject::header(session, import).await?;
        // A file of mended rejects has these columns already.
        header.retain(|header| !REPORT_COLUMNS.contains(&header.as_str()));
        let columns = header.len();
        header.extend(REPORT_COLUMNS.map(str::to_owned));
        Ok((Self { import, columns, behind: 0 }, csv(&[header])?))
    }

    /// The next rows; `None` behind the last.
    ///
    /// # Errors
    /// As [`Rejects::begin`], or a row does not open in its place.
    pub async fn next(&mut self, session: &Session) -> Result<Option<Vec<u8>>, entity::Error> {
        let window = reject::behind(session, self.import, self.behind).await?;
        let Some(last) = window.last() else { return Ok(None) };
        self.behind = last.row_number;
        let mut rows = Vec::with_capacity(window.len());
        for row in window {
            let shown = session.show(&row.raw, policy::View::Clear)?.unwrap_or_default();
            let mut cells: Vec<String> = serde_json::from_str(&shown).unwrap_or_default();
            cells.resize(self.columns, String::new());
            cells.extend([row.reason.clone(), row.detail, suggestion(&row.reason).to_owned()]);
            rows.push(cells);
        }
        Ok(Some(csv(&rows)?))
    }
}

fn csv(rows: &[Vec<String>]) -> Result<Vec<u8>, entity::Error> {
    let broken = || entity::Error::Invalid("the rejects cannot be written".to_owned());
    let mut out = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for row in rows {
        out.write_record(row.iter().map(|cell| defused(cell))).map_err(|_| broken())?;
    }
    out.into_inner().map_err(|_| broken())
}

/// What to do about a reason.
fn suggestion(reason: &str) -> &'static str {
    match reason {
        "invalid_phone" => "写上完整的11位手机号，或留空 / write the whole number of 11 digits, or leave the cell empty",
        "mostly_empty" => "补全这一行，或删除 / complete the row, or delete it",
        "too_long" => "缩短编号或标签 / shorten the id or tag",
        "not_a_record" => "不是客户数据，删除这一行 / not a customer; delete the row",
        _ => "",
    }
}
