// Takes an event of the input: drops one that is outside, or beyond what a step may take.
module events #(
    parameter CHANNELS = 1,
    parameter HEIGHT = 1,
    parameter WIDTH = 1,
    parameter MOST_EVENTS = 1,
    parameter COUNT_BITS = 1,
    parameter CHANNEL_BITS = 1,
    parameter ROW_BITS = 1,
    parameter COLUMN_BITS = 1
) (
    input clk,
    input rst,
    input take,
    input end_of_step,
    input [CHANNEL_BITS-1:0] in_channel,
    input [ROW_BITS-1:0] in_y,
    input [COLUMN_BITS-1:0] in_x,
    output counts,  // whether the event of `take` is walked
    output reg [COUNT_BITS-1:0] count,  // how many were, in this step
    output reg [CHANNEL_BITS-1:0] channel,
    output reg [ROW_BITS-1:0] y,
    output reg [COLUMN_BITS-1:0] x
);
    wire is_inside = in_channel < CHANNELS && in_y < HEIGHT && in_x < WIDTH;

    assign counts = is_inside && count != MOST_EVENTS;

    always @(posedge clk) begin
        if (take) begin
            channel <= in_channel;
            y <= in_y;
            x <= in_x;
        end
        if (rst || end_of_step) count <= 0;
        else if (take && counts) count <= count + 1'b1;
    end
endmodule
