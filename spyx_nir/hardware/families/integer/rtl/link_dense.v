// A spike adds one row of weights to all neurons of a population: the addresses of that, a word a cycle.
module link_dense #(
    parameter CHANNELS = 1,  // what arrives, behind a pool
    parameter HEIGHT = 1,
    parameter WIDTH = 1,
    parameter WINDOW = 1,
    parameter ROW_WORDS = 1,  // of a row of weights: all neurons of the target
    parameter FIRST_WEIGHT = 0,
    parameter FIRST_STATE = 0,
    parameter CHANNEL_BITS = 1,
    parameter ROW_BITS = 1,
    parameter COLUMN_BITS = 1,
    parameter WEIGHT_BITS = 1,
    parameter STATE_BITS = 1
) (
    input clk,
    input rst,
    input start,  // takes the address of a spike, where `busy` is 0
    input [CHANNEL_BITS-1:0] channel,
    input [ROW_BITS-1:0] y,
    input [COLUMN_BITS-1:0] x,
    output reg busy,
    output reading,
    output [WEIGHT_BITS-1:0] weight,  // addresses; 0 where nothing is read
    output [STATE_BITS-1:0] state
);
    wire is_inside;
    wire [ROW_BITS-1:0] row;
    wire [COLUMN_BITS-1:0] column;
    pool #(
        .WINDOW(WINDOW), .HEIGHT(HEIGHT), .WIDTH(WIDTH),
        .ROW_BITS(ROW_BITS), .COLUMN_BITS(COLUMN_BITS)
    ) pool (.y(y), .x(x), .is_inside(is_inside), .row(row), .column(column));

    wire [WEIGHT_BITS-1:0] source = (row * WIDTH + column) * CHANNELS + channel;
    reg [WEIGHT_BITS-1:0] next_weight;
    reg [STATE_BITS-1:0] next_state;

    always @(posedge clk) begin
        if (start) begin
            next_weight <= FIRST_WEIGHT + source * ROW_WORDS;
            next_state <= FIRST_STATE;
        end else begin
            next_weight <= next_weight + 1'b1;
            next_state <= next_state + 1'b1;
        end
        if (rst) busy <= 1'b0;
        else if (start) busy <= is_inside;
        else if (next_state == FIRST_STATE + ROW_WORDS - 1) busy <= 1'b0;
    end

    assign reading = busy;
    assign weight = busy ? next_weight : {WEIGHT_BITS{1'b0}};
    assign state = busy ? next_state : {STATE_BITS{1'b0}};
endmodule
