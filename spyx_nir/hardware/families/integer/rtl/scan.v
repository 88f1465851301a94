// Walks the spikes of a population, as (channel, row, column). A word without a spike takes one cycle.
module scan #(
    parameter LANES = 1,
    parameter LANE_BITS = 1,
    parameter ADDRESS_BITS = 1,
    parameter CHANNEL_BITS = 1,
    parameter ROW_BITS = 1,
    parameter COLUMN_BITS = 1
) (
    input clk,
    input rst,
    input start,
    input [ADDRESS_BITS-1:0] first,  // of the population, as what follows
    input [ADDRESS_BITS-1:0] last,
    input [CHANNEL_BITS-1:0] last_channel,
    input [COLUMN_BITS-1:0] last_column,
    output busy,
    output [ADDRESS_BITS-1:0] read_address,  // 0 where nothing is read
    input [LANES-1:0] spikes,
    output reg valid,
    input ready,
    output reg [CHANNEL_BITS-1:0] channel,
    output reg [ROW_BITS-1:0] y,
    output reg [COLUMN_BITS-1:0] x
);
    localparam [CHANNEL_BITS:0] STEP = LANES;

    reg reading, loaded;  // `loaded`: `spikes` are those of `address`
    reg [ADDRESS_BITS-1:0] address;
    reg [CHANNEL_BITS-1:0] word_channel;  // of the first lane
    reg [ROW_BITS-1:0] row;
    reg [COLUMN_BITS-1:0] column;
    reg [LANES-1:0] sent;

    // The lowest lane of those that are left.
    wire [LANES-1:0] waiting = spikes & ~sent;
    wire [LANES-1:0] lowest = waiting & (~waiting + 1'b1);
    reg [LANE_BITS-1:0] lane;
    integer i;
    always @* begin
        lane = 0;
        for (i = 0; i < LANES; i = i + 1) if (lowest[i]) lane = lane | i;
    end

    wire send = loaded && waiting != 0 && (!valid || ready);
    wire only = (waiting & ~lowest) == 0;
    wire advance = loaded && (waiting == 0 || (send && only));
    wire end_of_place = {1'b0, word_channel} + STEP > {1'b0, last_channel};
    wire [ADDRESS_BITS-1:0] next = address + 1'b1;

    always @(posedge clk) begin
        if (send) begin
            channel <= word_channel + lane;
            y <= row;
            x <= column;
            sent <= sent | lowest;
        end
        loaded <= reading && !(advance && address == last);
        if (advance) begin
            address <= next;
            sent <= 0;
            word_channel <= end_of_place ? 0 : word_channel + LANES;
            if (end_of_place) begin
                column <= column == last_column ? 0 : column + 1'b1;
                if (column == last_column) row <= row + 1'b1;
            end
        end
        if (start) begin
            address <= first;
            word_channel <= 0;
            row <= 0;
            column <= 0;
            sent <= 0;
        end
        if (rst) reading <= 1'b0;
        else if (start) reading <= 1'b1;
        else if (advance && address == last) reading <= 1'b0;
        if (rst) valid <= 1'b0;
        else if (send) valid <= 1'b1;
        else if (ready) valid <= 1'b0;
    end

    assign busy = reading || valid;
    assign read_address = !reading ? {ADDRESS_BITS{1'b0}} : advance ? next : address;
endmodule
