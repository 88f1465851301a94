// A pass over a population: reads a word of states a cycle, writes what the neurons make of it.
module neurons #(
    parameter LANES = 1,
    parameter SUM_BITS = 32,
    parameter STATE_BITS = 24,
    parameter DECAY_BITS = 12,
    parameter DECAYS = 1,
    parameter SUBTRACTS = 1,
    parameter ADDRESS_BITS = 1
) (
    input clk,
    input rst,
    input start,
    input [ADDRESS_BITS-1:0] first,
    input [ADDRESS_BITS-1:0] last,
    input fires,  // from `start` until `busy` is 0, as all that is of the population
    input has_current,
    input subtract,
    output busy,
    output [ADDRESS_BITS-1:0] read_address,  // 0 where nothing is read
    input [LANES*SUM_BITS-1:0] sums,
    input [LANES*STATE_BITS-1:0] membranes,
    output [ADDRESS_BITS-1:0] decay_address,
    input [LANES*(DECAY_BITS+1)-1:0] decays,
    output [ADDRESS_BITS-1:0] threshold_address,
    input [LANES*STATE_BITS-1:0] thresholds,
    output write,
    output [ADDRESS_BITS-1:0] write_address,
    output [LANES*STATE_BITS-1:0] left,
    output [LANES-1:0] spikes
);
    // Where each stage is: [0] reads, [4] writes.
    reg [4:0] stages;
    reg [ADDRESS_BITS-1:0] address, address_1, address_2, address_3, address_4;
    always @(posedge clk) begin
        address <= start ? first : address + 1'b1;
        address_1 <= address;
        address_2 <= address_1;
        address_3 <= address_2;
        address_4 <= address_3;
        stages[4:1] <= stages[3:0];
        if (start) stages[0] <= 1'b1;
        else if (address == last) stages[0] <= 1'b0;
        if (rst) stages <= 5'b0;
    end

    assign busy = |stages;
    assign read_address = stages[0] ? address : {ADDRESS_BITS{1'b0}};
    assign decay_address = address_1;
    assign threshold_address = address_3;
    assign write = stages[4];
    assign write_address = address_4;

    genvar lane;
    generate
        for (lane = 0; lane < LANES; lane = lane + 1) begin : lanes
            neuron #(
                .SUM_BITS(SUM_BITS), .STATE_BITS(STATE_BITS), .DECAY_BITS(DECAY_BITS),
                .DECAYS(DECAYS), .SUBTRACTS(SUBTRACTS)
            ) neuron (
                .clk(clk), .enable(stages[3:1] != 0), .fires(fires), .has_current(has_current),
                .subtract(subtract),
                .sum(sums[lane*SUM_BITS +: SUM_BITS]),
                .membrane(membranes[lane*STATE_BITS +: STATE_BITS]),
                .decay(decays[lane*(DECAY_BITS+1) +: DECAY_BITS+1]),
                .threshold(thresholds[lane*STATE_BITS +: STATE_BITS]),
                .left(left[lane*STATE_BITS +: STATE_BITS]),
                .spike(spikes[lane])
            );
        end
    endgenerate
endmodule
