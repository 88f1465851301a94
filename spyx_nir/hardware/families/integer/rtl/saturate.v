// The nearest number of STATE_BITS.
module saturate #(
    parameter SUM_BITS = 32,
    parameter STATE_BITS = 24
) (
    input [SUM_BITS-1:0] sum,
    output [STATE_BITS-1:0] state
);
    wire sign = sum[SUM_BITS-1];
    wire fits = sum[SUM_BITS-1:STATE_BITS-1] == {(SUM_BITS - STATE_BITS + 1){sign}};

    assign state = fits ? sum[STATE_BITS-1:0] : {sign, {(STATE_BITS - 1){!sign}}};
endmodule
