//! A table of text, which console, Markdown and HTML each draw in their way.

/// How a column's cells stand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A heading and rows of text.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Heading and alignment of each column.
    pub columns: Vec<(&'static str, Align)>,
    /// Rows as long as `columns`.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new<const N: usize>(columns: [(&'static str, Align); N]) -> Table {
        Table {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(cells.to_vec());
    }

    /// The place of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.0 == name)
    }

    /// The table with these of its columns only, as far as it has them.
    pub fn pick(&self, names: &[&str]) -> Table {
        let places: Vec<usize> = names.iter().filter_map(|name| self.column(name)).collect();
        let row = |row: &Vec<String>| places.iter().map(|n| row[*n].clone()).collect();
        Table {
            columns: places.iter().map(|n| self.columns[*n]).collect(),
            rows: self.rows.iter().map(row).collect(),
        }
    }

    /// The table without a column.
    pub fn without(mut self, column: &str) -> Table {
        if let Some(n) = self.columns.iter().position(|(name, _)| *name == column) {
            self.columns.remove(n);
            for row in &mut self.rows {
                row.remove(n);
            }
        }
        self
    }

    /// The table without the columns in which no row says anything.
    pub fn without_empty_columns(mut self) -> Table {
        let keep: Vec<bool> = (0..self.columns.len())
            .map(|n| n == 0 || self.rows.iter().any(|row| !row[n].is_empty()))
            .collect();
        let kept = |n: &mut usize| {
            *n += 1;
            keep[*n - 1]
        };
        let mut n = 0;
        self.columns.retain(|_| kept(&mut n));
        for row in &mut self.rows {
            let mut n = 0;
            row.retain(|_| kept(&mut n));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_columns_go() {
        let mut table = Table::new([("a", Align::Left), ("b", Align::Right), ("c", Align::Right)]);
        table.row(["1".into(), String::new(), "2".into()]);
        table.row(["3".into(), String::new(), String::new()]);
        let table = table.without_empty_columns();
        assert_eq!(table.columns.len(), 2);
        assert_eq!(table.rows, [["1", "2"], ["3", ""]]);
    }
}
