// Adds a word of weights to a word of states, each lane by itself. A weight counts 2^SHIFT.
module accumulate #(
    parameter LANES = 1,
    parameter SUM_BITS = 32,
    parameter WEIGHT_BITS = 8,
    parameter SHIFT = 6
) (
    input [LANES*SUM_BITS-1:0] states,
    input [LANES*WEIGHT_BITS-1:0] weights,
    output [LANES*SUM_BITS-1:0] sums
);
    localparam HIGH_BITS = SUM_BITS - SHIFT;

    genvar lane;
    generate
        for (lane = 0; lane < LANES; lane = lane + 1) begin : lanes
            wire [SUM_BITS-1:0] state = states[lane*SUM_BITS +: SUM_BITS];
            wire [WEIGHT_BITS-1:0] weight = weights[lane*WEIGHT_BITS +: WEIGHT_BITS];
            wire [HIGH_BITS-1:0] extended =
                {{(HIGH_BITS - WEIGHT_BITS){weight[WEIGHT_BITS-1]}}, weight};
            wire [HIGH_BITS-1:0] high = state[SUM_BITS-1:SHIFT] + extended;
            if (SHIFT > 0) begin : scaled
                assign sums[lane*SUM_BITS +: SUM_BITS] = {high, state[SHIFT-1:0]};
            end else begin : whole
                assign sums[lane*SUM_BITS +: SUM_BITS] = high;
            end
        end
    endgenerate
endmodule
