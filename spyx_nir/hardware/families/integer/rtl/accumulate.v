// Adds a word of weights to a word of states, each lane by itself. A weight counts 2^SHIFT.
module accumulate #(
    parameter LANES = 1,
    parameter SUM_BITS = 32,
    parameter WEIGHT_BITS = 8,
    parameter SHIFT = 6
) (
    input [LANES*SUM_BITS-1:0] states,
    input [LANES*WEIGHT_BITS-1:0] weights,
    output reg [LANES*SUM_BITS-1:0] sums
);
    integer lane;
    always @* begin
        sums = states;  // and so the lowest SHIFT bits, which no weight reaches
        for (lane = 0; lane < LANES; lane = lane + 1)
            sums[lane*SUM_BITS + SHIFT +: SUM_BITS - SHIFT] =
                $signed(states[lane*SUM_BITS + SHIFT +: SUM_BITS - SHIFT])
                + $signed(weights[lane*WEIGHT_BITS +: WEIGHT_BITS]);
    end
endmodule
