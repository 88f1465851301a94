// Reads states back, neuron by neuron: 0 words of 32 spikes, 1 currents, 2 membranes.
module dump #(
    parameter LANES = 1,
    parameter LANE_BITS = 1,
    parameter SUM_BITS = 32,
    parameter STATE_BITS = 24,
    parameter ADDRESS_BITS = 1,
    parameter CHANNEL_BITS = 1,
    parameter POPULATION_BITS = 1,
    parameter LAST_POPULATION = 0,
    parameter LAST_CURRENT = 0  // the last population that has a current
) (
    input clk,
    input rst,
    input start,
    input [1:0] kind,
    output busy,
    output reg [POPULATION_BITS-1:0] population,
    input [ADDRESS_BITS-1:0] first,  // of `population`, as what follows
    input [ADDRESS_BITS-1:0] last,
    input [CHANNEL_BITS-1:0] last_channel,
    input has_current,
    output [ADDRESS_BITS-1:0] read_address,  // 0 where nothing is read
    input [LANES*SUM_BITS-1:0] sums,
    input [LANES*STATE_BITS-1:0] membranes,
    input [LANES-1:0] spikes,
    output valid,
    input ready,
    output reg [31:0] data,
    output data_last
);
    localparam [2:0] IDLE = 0, ENTER = 1, LOAD = 2, TAKE = 3, SEND = 4;

    reg [2:0] mode;
    reg [1:0] what;
    reg [ADDRESS_BITS-1:0] address;
    reg [CHANNEL_BITS-1:0] channel;
    reg [4:0] bit_of_word;
    reg ended;  // the population has no more; zeros fill a word of spikes
    reg load;  // the next neuron is in another word

    wire [POPULATION_BITS-1:0] end_population = what == 1 ? LAST_CURRENT : LAST_POPULATION;
    wire [LANE_BITS-1:0] lane = LANES == 1 ? 1'b0 : channel[LANE_BITS-1:0];
    wire [STATE_BITS-1:0] saturated;
    saturate #(.SUM_BITS(SUM_BITS), .STATE_BITS(STATE_BITS)) of_sum (
        .sum(sums[lane*SUM_BITS +: SUM_BITS]), .state(saturated)
    );
    wire of_membrane = what == 2 && has_current;
    wire [STATE_BITS-1:0] state = of_membrane ? membranes[lane*STATE_BITS +: STATE_BITS] : saturated;
    wire end_of_place = channel == last_channel;
    wire end_of_word = end_of_place || lane == LANES - 1;
    wire end_of_population = end_of_place && address == last;

    always @(posedge clk) begin
        case (mode)
            IDLE:
                if (start) begin
                    what <= kind;
                    population <= 0;
                    mode <= ENTER;
                end
            ENTER: begin
                address <= first;
                channel <= 0;
                bit_of_word <= 0;
                ended <= 1'b0;
                if (what == 1 && !has_current) begin
                    if (population == LAST_POPULATION) mode <= IDLE;
                    else population <= population + 1'b1;
                end else mode <= LOAD;
            end
            LOAD: mode <= TAKE;
            TAKE: begin
                if (what == 0) data <= {!ended && spikes[lane], data[31:1]};
                else data <= {{(32 - STATE_BITS){state[STATE_BITS-1]}}, state};
                bit_of_word <= bit_of_word + 1'b1;
                channel <= end_of_place ? 0 : channel + 1'b1;
                if (end_of_word) address <= address + 1'b1;
                ended <= ended || end_of_population;
                load <= end_of_word;
                if (what != 0 || bit_of_word == 31) mode <= SEND;
                else if (end_of_word && !ended && !end_of_population) mode <= LOAD;
            end
            SEND:
                if (ready) begin
                    if (!ended) mode <= load ? LOAD : TAKE;
                    else if (population == end_population) mode <= IDLE;
                    else begin
                        population <= population + 1'b1;
                        mode <= ENTER;
                    end
                end
            default: mode <= IDLE;
        endcase
        if (rst) mode <= IDLE;
    end

    assign busy = mode != IDLE;
    assign read_address = busy ? address : {ADDRESS_BITS{1'b0}};
    assign valid = mode == SEND;
    assign data_last = ended && population == end_population;
endmodule
