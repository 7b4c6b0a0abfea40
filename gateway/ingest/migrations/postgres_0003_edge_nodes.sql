-- What has been seen of edge nodes of Sparkplug B beside their rows, under the ids that they have on the wire.

CREATE TABLE tidegate.edge_node (
    group_id      text NOT NULL,
    node_id       text NOT NULL,
    births        bigint NOT NULL,
    asked         bigint NOT NULL,
    holes         bigint NOT NULL,
    missing       bigint NOT NULL,
    unread        bigint NOT NULL,
    repeated      bigint NOT NULL,
    dropped       bigint NOT NULL,
    interruptions bigint NOT NULL,
    PRIMARY KEY (group_id, node_id)
);
