-- Gateways that publish Sparkplug B declare which rows will never come, in numbers of their own: their rows come under other ones, in
-- another stream. So what lies between two of these gaps is no hole.

CREATE OR REPLACE VIEW tidegate.hole AS
SELECT stream.id AS stream_id, stream.gateway, stream.store, stream.device, stream.group_name,
       lower(hole.numbers) AS first_seq, upper(hole.numbers) - 1 AS last_seq
FROM tidegate.stream
CROSS JOIN LATERAL unnest(
    int8multirange(int8range(lower(delivered + declared), upper(delivered + declared))) - delivered - declared
) AS hole(numbers)
WHERE NOT isempty(delivered + declared) AND stream.store <> '0000000000000002';
