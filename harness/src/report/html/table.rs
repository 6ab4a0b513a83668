//! Tables of the page, each in a frame of its own, which scrolls where the page is too narrow for it.

use maud::{Markup, html};

use crate::report::table::{Align, Table};

/// A table whose rows can be sorted and filtered.
pub fn table(id: &str, name: &str, table: &Table) -> Markup {
    framed(Some(id), name, table)
}

/// A table in its own order.
pub fn plain(name: &str, table: &Table) -> Markup {
    framed(None, name, table)
}

fn framed(id: Option<&str>, name: &str, table: &Table) -> Markup {
    let class = |align: Align| (align == Align::Right).then_some("number");
    // A name that is the same as the one above is still there to be read, but steps back.
    let again = |n: usize| n > 0 && table.rows[n][0] == table.rows[n - 1][0];
    let scenario = table.column("scenario");
    html! {
        div .scroll role="region" aria-label=(name) tabindex="0" {
            table id=[id] data-sort[id.is_some()] data-filter[id.is_some()] {
                thead {
                    tr {
                        @for (heading, align) in &table.columns {
                            th scope="col" class=[class(*align)] { (heading) }
                        }
                    }
                }
                tbody {
                    @for (n, row) in table.rows.iter().enumerate() {
                        tr .again[again(n)] data-scenario=[scenario.map(|column| &row[column])] {
                            @for (column, cell) in row.iter().enumerate() {
                                @let class = class(table.columns[column].1);
                                @if column == 0 { th scope="row" class=[class] { (cell) } }
                                @else { td class=[class] { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
