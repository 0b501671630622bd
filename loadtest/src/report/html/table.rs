//! Tables: shown as a card for each row on a phone. Empty columns are left out.

use std::fmt::Write as _;

use super::format::escaped;

/// A table with more rows can be sorted.
const SORTABLE_MIN: usize = 5;

/// The alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Align {
    Text,
    Number,
}

/// How a row or a cell is highlighted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::report) enum Mark {
    #[default]
    Plain,
    Good,
    /// Noteworthy, but no failure.
    Warning,
    Bad,
}

impl Mark {
    pub(super) fn class(self) -> &'static str {
        match self {
            Mark::Plain => "",
            Mark::Good => "good",
            Mark::Warning => "warning",
            Mark::Bad => "bad",
        }
    }
}

/// A value or a text.
#[derive(Clone, Debug, Default)]
pub(in crate::report) struct Cell {
    text: String,
    pub(super) mark: Mark,
}

impl Cell {
    pub(in crate::report) fn new(text: impl Into<String>) -> Self {
        Cell {
            text: text.into(),
            mark: Mark::Plain,
        }
    }

    pub(in crate::report) fn marked(text: impl Into<String>, mark: Mark) -> Self {
        Cell {
            text: text.into(),
            mark,
        }
    }

    /// An empty cell.
    pub(in crate::report) fn none() -> Self {
        Cell::default()
    }
}

/// A table.
#[derive(Debug)]
pub(in crate::report) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<(Mark, Vec<Cell>)>,
}

impl Table {
    pub(in crate::report) fn new(columns: &[(&'static str, Align)]) -> Self {
        Table {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(in crate::report) fn row(&mut self, mark: Mark, cells: Vec<Cell>) {
        self.rows.push((mark, cells));
    }

    /// The table as HTML; empty without rows.
    pub(in crate::report) fn html(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let is_used = |column: usize| {
            let mut cells = self.rows.iter().filter_map(|(_, cells)| cells.get(column));
            cells.any(|cell| !cell.text.is_empty())
        };
        let used: Vec<usize> = (0..self.columns.len())
            .filter(|one| is_used(*one))
            .collect();
        let sortable = match self.rows.len() > SORTABLE_MIN {
            true => " class=\"sortable\"",
            false => "",
        };
        let mut html = format!("<table{sortable}><thead><tr>");
        let columns = used.iter().filter_map(|column| self.columns.get(*column));
        for (head, align) in columns {
            let class = class(*align, Mark::Plain);
            // Writing to a string cannot fail.
            let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", escaped(head));
        }
        html.push_str("</tr></thead><tbody>");
        for (mark, cells) in &self.rows {
            let _ = write!(html, "<tr class=\"{}\">", mark.class());
            for column in &used {
                let (Some((head, align)), Some(cell)) =
                    (self.columns.get(*column), cells.get(*column))
                else {
                    continue;
                };
                let _ = write!(
                    html,
                    "<td{} data-head=\"{}\">{}</td>",
                    class(*align, cell.mark),
                    escaped(head),
                    escaped(&cell.text)
                );
            }
            html.push_str("</tr>");
        }
        html + "</tbody></table>"
    }
}

fn class(align: Align, mark: Mark) -> String {
    let align = match align {
        Align::Text => "",
        Align::Number => "number ",
    };
    let classes = format!("{align}{}", mark.class());
    match classes.trim() {
        "" => String::new(),
        classes => format!(" class=\"{classes}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_columns_are_left_out_and_text_is_escaped() {
        let columns = [
            ("name", Align::Text),
            ("empty", Align::Number),
            ("value", Align::Number),
        ];
        let mut table = Table::new(&columns);
        assert_eq!(table.html(), "");
        let name = Cell::new("<script>alert(1)</script>\"'");
        let value = Cell::marked("7", Mark::Bad);
        table.row(Mark::Bad, vec![name, Cell::none(), value]);
        let html = table.html();
        assert!(
            !html.contains("empty") && !html.contains("<script"),
            "{html}"
        );
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;"));
        assert!(html.contains("<tr class=\"bad\">") && html.contains("class=\"number bad\""));
    }
}
