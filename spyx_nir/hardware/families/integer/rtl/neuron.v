// The rule for one neuron, in four cycles, a neuron a cycle. See verify_integers.py for the rule.
//
// `fires` 0: what is left of the sum after a step, sum * decay / 4096 toward zero.
// `fires` 1: m = saturated(membrane * decay / 4096 + current), or the saturated sum where there is no
// current; a spike where m > threshold; then 0, or m - threshold.
module neuron #(
    parameter SUM_BITS = 32,
    parameter STATE_BITS = 24,
    parameter DECAY_BITS = 12,
    parameter DECAYS = 1,  // whether anything decays
    parameter SUBTRACTS = 1  // whether any reset is by subtraction
) (
    input clk,
    input enable,  // 0: everything stays as it is
    input fires,  // these three stay as they are during a pass
    input has_current,
    input subtract,
    input [SUM_BITS-1:0] sum,  // in the first cycle
    input [STATE_BITS-1:0] membrane,
    input [DECAY_BITS:0] decay,  // in the second
    input [STATE_BITS-1:0] threshold,  // in the fourth
    output [STATE_BITS-1:0] left,
    output spike
);
    wire [STATE_BITS-1:0] saturated;
    saturate #(.SUM_BITS(SUM_BITS), .STATE_BITS(STATE_BITS)) of_sum (.sum(sum), .state(saturated));

    reg signed [STATE_BITS-1:0] added, m;
    generate
        if (DECAYS) begin : decays
            // First to second cycle: what decays, and what is added to it.
            reg signed [STATE_BITS-1:0] decaying;
            reg signed [STATE_BITS-1:0] arrived;
            // Second to third.
            reg signed [STATE_BITS+DECAY_BITS:0] product;
            wire signed [DECAY_BITS+1:0] factor = {1'b0, decay};
            // Third to fourth. Toward zero: below zero, a rest counts as one more.
            wire up = product[STATE_BITS+DECAY_BITS] && product[DECAY_BITS-1:0] != 0;
            wire signed [STATE_BITS:0] kept = product[STATE_BITS+DECAY_BITS:DECAY_BITS];
            wire signed [STATE_BITS:0] total = kept + added + $signed({1'b0, up});
            wire [STATE_BITS-1:0] limited;
            saturate #(.SUM_BITS(STATE_BITS + 1), .STATE_BITS(STATE_BITS)) of_total (
                .sum(total), .state(limited)
            );
            always @(posedge clk) if (enable) begin
                decaying <= !fires ? saturated : has_current ? membrane : {STATE_BITS{1'b0}};
                arrived <= saturated;
                product <= decaying * factor;
                added <= fires ? arrived : {STATE_BITS{1'b0}};
                m <= limited;
            end
        end else begin : only_sums
            reg signed [STATE_BITS-1:0] arrived;
            always @(posedge clk) if (enable) begin
                arrived <= saturated;
                added <= arrived;
                m <= added;
            end
        end
    endgenerate

    // Fourth cycle.
    wire above = m > $signed(threshold);
    wire [STATE_BITS-1:0] rest = SUBTRACTS && subtract ? m - threshold : {STATE_BITS{1'b0}};
    assign spike = fires && above;
    assign left = spike ? rest : m;
endmodule
