//! Which nodes have which bodies of a block, and whom they asked.

/// How a body is with a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    No,
    Asked,
    Yes,
}

/// The bodies of one block at all nodes.
#[derive(Clone, Debug)]
pub(crate) struct Bodies {
    bodies: u16,
    held: Vec<Held>,
    /// Who announced each body to each node last.
    source: Vec<u16>,
    lacking: Vec<u16>,
}

impl Bodies {
    /// Nobody has any.
    pub(crate) fn new(nodes: usize, bodies: u16) -> Self {
        let places = nodes * usize::from(bodies);
        Self { bodies, held: vec![Held::No; places], source: vec![0; places], lacking: vec![bodies; nodes] }
    }

    fn place(&self, node: u16, body: u16) -> usize {
        usize::from(node) * usize::from(self.bodies) + usize::from(body)
    }

    /// A neighbour says that it has a body. Whether to ask it.
    pub(crate) fn announced(&mut self, to: u16, from: u16, body: u16) -> bool {
        let place = self.place(to, body);
        self.source[place] = from;
        let first = self.held[place] == Held::No;
        if first {
            self.held[place] = Held::Asked;
        }
        first
    }

    /// A body came. Whether it is new.
    pub(crate) fn arrived(&mut self, to: u16, body: u16) -> bool {
        let place = self.place(to, body);
        let new = std::mem::replace(&mut self.held[place], Held::Yes) != Held::Yes;
        self.lacking[usize::from(to)] -= u16::from(new);
        new
    }

    /// Whom to ask for a body that was asked for and did not come.
    pub(crate) fn overdue(&self, to: u16, body: u16) -> Option<u16> {
        let place = self.place(to, body);
        (self.held[place] == Held::Asked).then(|| self.source[place])
    }

    /// Whether a node has this body.
    pub(crate) fn has(&self, node: u16, body: u16) -> bool {
        self.held[self.place(node, body)] == Held::Yes
    }

    /// Whether a node has all of them.
    pub(crate) fn complete(&self, node: u16) -> bool {
        self.lacking[usize::from(node)] == 0
    }
}
